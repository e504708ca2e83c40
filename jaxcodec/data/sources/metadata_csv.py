"""Reads LJSpeech's `metadata.csv` and tables like it."""

import csv
import dataclasses
import pathlib
import re

from jaxcodec.data.audio.files import SUFFIXES
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import one_line, read_text

# What tools call their columns, in lower case, with _ for spaces and hyphens.
_ROLES = {
  "id": (
    "id file filename file_name file_id file_path filepath path audio audio_file"
    " audio_filename audio_filepath audio_path audio_id wav wav_file wav_filename"
    " wav_path wav_filepath wav_id clip clip_id utterance utterance_id utt utt_id name"
  ),
  "text": (
    "text transcript transcription transcripts sentence utterance_text raw_text"
    " raw_transcription original_text content caption words"
  ),
  "normalised": (
    "normalised_text normalized_text normalised normalized normalised_transcription"
    " normalized_transcription normalised_transcript normalized_transcript text_norm"
    " clean_text cleaned_text text_normalized text_normalised"
  ),
  "speaker": "speaker speaker_id speaker_name spk spk_id spkid voice client_id reader",
}
_LONGEST_CELL = csv.field_size_limit()
_NAMES = {name: role for role, names in _ROLES.items() for name in names.split()}


@dataclasses.dataclass(frozen=True)
class Row:
  """A recording's line; text or speaker are None where there is no such column."""

  line: int
  id: str
  text: str | None
  speaker: str | None


def read_metadata(path: pathlib.Path) -> tuple[list[Row], list[dict[str, str]]]:
  """Returns the rows of a table, and the malformed lines as problems.

  The table is one of these; only `\\n`, `\\r\\n` and `\\r` end its lines:

  - columns apart by `|`, tabs or commas (with quotes), named by a header line like
    `audio_file|text|speaker_name`, in any order, with others among them;
  - `id|text`, `id|text|normalised text` or `id|text|speaker` (see `third_column`), or
    the same with tabs, without a header;
  - names of audio files alone, one in a line, which have no text.

  Normalised text is preferred to text.

  Raises:
    DataError: not UTF-8, empty, or the third column could be either.
  """
  lines = read_text(path).split("\n")
  first = next((line for line in lines if line.strip()), None)
  if first is None:
    raise DataError(f"{path}: is empty; expected lines of id|text|...")
  for separator in "|\t,":
    if columns := _header(_cells(first, separator) or []):
      table = list(_split(lines, separator))[1:]
      return _parse(path, table, columns, separator)
  if first.strip().lower().endswith(SUFFIXES):
    return [
      Row(number, line.strip(), None, None)
      for number, line in enumerate(lines, 1)
      if line.strip()
    ], []
  separator = "\t" if "\t" in first and "|" not in first else "|"
  table = list(_split(lines, separator))
  return _parse(path, table, _guess_columns(path, table), separator)


def third_column(pairs: list[tuple[str, str]]) -> str:
  """Returns what a third column is: `normalised` text, a `speaker`, or `unknown`.

  Normalising rewrites numbers and abbreviations and leaves most plain words as they
  were; a speaker's name has nothing to do with what was said. So each pair votes:
  normalised if the third shares at least half of the text's plain words, speaker if
  it shares none and is at most three words long. Nine tenths of the votes decide.
  """
  votes = {"normalised": 0, "speaker": 0, "neither": 0}
  for text, third in pairs:
    words = set(re.findall(r"[^\W\d_]+", text.lower()))
    shared = len(words & set(re.findall(r"[^\W\d_]+", third.lower())))
    if not words or not third.strip():
      continue
    if shared >= len(words) / 2:
      votes["normalised"] += 1
    elif not shared and len(third.split()) <= 3:
      votes["speaker"] += 1
    else:
      votes["neither"] += 1
  winner = max(votes, key=votes.get)
  enough = votes[winner] and votes[winner] >= 0.9 * sum(votes.values())
  return winner if enough and winner != "neither" else "unknown"


def _split(lines, separator):
  """Yields (number, cells) of the lines that aren't blank, see `_cells`."""
  blank = ", \t" if separator == "," else None
  for number, line in enumerate(lines, 1):
    if line.strip(blank):
      yield number, _cells(line, separator)


def _cells(line, separator):
  """Returns a line's cells; commas may be in quotes, None if these stay open.

  A cell that went on in the next line would take recordings with it.
  """
  if separator != ",":
    return line.split(separator)
  reader = csv.reader([line], strict=True)
  try:
    return next(reader)
  except csv.Error as error:
    whole = "unexpected end of data" not in str(error) and len(line) < _LONGEST_CELL
    return next(csv.reader([line])) if whole else None


def _header(fields):
  """Returns column positions by role if `fields` is a header, else None."""
  names = [re.sub(r"[\s-]+", "_", field.strip(" #\"'\t").lower()) for field in fields]
  columns = {}
  for position, name in enumerate(names):
    if name in _NAMES:
      columns.setdefault(_NAMES[name], position)
  known = "id" in columns and len(columns) > 1
  return {**columns, "width": len(fields)} if known else None


def _guess_columns(path, table):
  width = max(2, min(3, len(table[0][1])))
  columns = {"id": 0, "text": 1, "width": width}
  if width == 3:
    pairs = [(fields[1], fields[2]) for _, fields in table if len(fields) == 3]
    role = third_column(pairs)
    if role == "unknown":
      raise DataError(
        f"{path}: cannot tell whether the third column is normalised text or a"
        " speaker; add a first line id|text|normalised_text or id|text|speaker"
      )
    columns[role] = 2
  return columns


def _parse(path, table, columns, separator):
  rows, problems = [], []
  for line, fields in table:
    reason = _malformed(fields, columns, separator)
    if reason:
      item = f"{path.name}:{line}"
      problems.append({"item": item, "reason": f"{path}:{line}: {reason}"})
    else:
      rows.append(Row(line, fields[columns["id"]].strip(), *_labels(fields, columns)))
  return rows, problems


def _labels(fields, columns):
  get = lambda role: fields[columns[role]].strip() if role in columns else ""  # noqa: E731
  return one_line(get("normalised") or get("text")) or None, get("speaker") or None


def _malformed(fields, columns, separator):
  if fields is None:
    return "malformed: a quote stays open, or a cell is too long"
  width = columns["width"]
  if len(fields) != width:
    return (
      f"malformed: {len(fields)} fields separated by {separator!r}, expected {width}"
    )
  if not fields[columns["id"]].strip():
    return "malformed: the id is empty"
  if {"text", "normalised"} & columns.keys() and not _labels(fields, columns)[0]:
    return "malformed: the text is empty"
  if "speaker" in columns and not fields[columns["speaker"]].strip():
    return "malformed: the speaker is empty"
  return None
