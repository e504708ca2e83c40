"""Reads LJSpeech's `metadata.csv` and tables like it."""

import dataclasses
import pathlib
import re

from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import read_text

_ID = {"id", "file", "filename", "file_name", "path", "audio", "utterance_id"}
_TEXT = {"text", "transcript", "transcription", "sentence"}
_NORMALISED = {"normalised_text", "normalized_text", "normalised", "normalized"}
_SPEAKER = {"speaker", "speaker_id", "speaker_name"}


@dataclasses.dataclass(frozen=True)
class Row:
  """A recording's line; `speaker` is None where the table has no such column."""

  line: int
  id: str
  text: str
  speaker: str | None


def read_metadata(path: pathlib.Path) -> tuple[list[Row], list[dict[str, str]]]:
  """Returns the rows of a `|`-separated table, and the malformed lines as problems.

  Columns are named by a header line (`id|text|speaker`, any order) if there is one.
  Without it they are `id|text`, `id|text|normalised text` or `id|text|speaker`; see
  `third_column`. Normalised text is preferred to text.

  Raises:
    DataError: not UTF-8, empty, or the third column could be either.
  """
  lines = read_text(path).splitlines()
  table = [(n, line.split("|")) for n, line in enumerate(lines, 1) if line.strip()]
  if not table:
    raise DataError(f"{path}: is empty; expected lines of id|text|...")
  columns = _header(table[0][1])
  if columns:
    table = table[1:]
  else:
    columns = _guess_columns(path, table)
  return _parse(path, table, columns)


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


def _header(fields):
  """Returns column positions by role if `fields` is a header, else None."""
  roles = {"id": _ID, "text": _TEXT, "normalised": _NORMALISED, "speaker": _SPEAKER}
  names = [re.sub(r"\s+", "_", field.strip().lower()) for field in fields]
  columns = {
    role: position
    for role, known in roles.items()
    for position, name in enumerate(names)
    if name in known
  }
  return {**columns, "width": len(fields)} if {"id", "text"} <= set(columns) else None


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


def _parse(path, table, columns):
  rows, problems = [], []
  for line, fields in table:
    reason = _malformed(fields, columns)
    if reason:
      item = f"{path.name}:{line}"
      problems.append({"item": item, "reason": f"{path}:{line}: {reason}"})
    else:
      rows.append(Row(line, fields[columns["id"]].strip(), *_labels(fields, columns)))
  return rows, problems


def _labels(fields, columns):
  get = lambda role: fields[columns[role]].strip() if role in columns else ""  # noqa: E731
  return get("normalised") or get("text"), get("speaker") or None


def _malformed(fields, columns):
  width = columns["width"]
  if len(fields) != width:
    return f"malformed: {len(fields)} fields separated by '|', expected {width}"
  if not fields[columns["id"]].strip():
    return "malformed: the id is empty"
  if not _labels(fields, columns)[0]:
    return "malformed: the text is empty"
  if "speaker" in columns and not fields[columns["speaker"]].strip():
    return "malformed: the speaker is empty"
  return None
