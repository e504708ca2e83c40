"""Lists the recordings of a folder, with texts and speakers, in any known layout."""

import pathlib
import re

from jaxcodec.data.audio.files import SUFFIXES
from jaxcodec.data.source import DataError
from jaxcodec.data.sources import libri
from jaxcodec.data.sources.audio_file import (
  UNKNOWN_SPEAKER,
  AudioFile,
  Problems,
  problem,
  read_text,
)
from jaxcodec.data.sources.file_lookup import FileLookup
from jaxcodec.data.sources.metadata_csv import read_metadata
from jaxcodec.data.sources.tree import list_files, printable, same_letters

TABLES = ("metadata.csv", "metadata.tsv")
_TEXT_SUFFIXES = (*libri.TTS_TEXTS, ".txt", ".lab")
# A line of a phonetic alignment, which other tools keep in .lab files: no text to read.
_ALIGNMENT = re.compile(r"[\d.]+\s+[\d.]+\s+\S+")


def list_folder(
  root: pathlib.Path, table: pathlib.Path | None = None
) -> tuple[list[AudioFile], Problems]:
  """Returns the recordings under `root`, in order, and the problems in listing them.

  The layout is the first of these that fits: one of `TABLES` in `root` (files that it
  does not list are left out); LibriSpeech's `*.trans.txt`; a `.txt` or `.lab` beside
  files, as in LibriTTS, those that have none being without text; Libri-Light's `.json`;
  no text at all. Except in the Libri corpora, the speaker is the first folder below
  `root` that isn't named like a subset (`train`). See `list_files` for links and
  hidden files.

  Args:
    root: the folder.
    table: takes the place of one of `TABLES`, and may lie anywhere.

  Raises:
    DataError: no such folder, no audio in it, or an unreadable table.
  """
  if not root.is_dir():
    raise DataError(f"data.path: {root} is not a folder")
  files = list_files(root)
  audio = [path for path in files if path.suffix.lower() in SUFFIXES]
  if not audio:
    raise DataError(f"data.path: no {', '.join(SUFFIXES)} file anywhere under {root}")
  found = next((root / name for name in TABLES if (root / name).is_file()), None)
  if table := table or found:
    return _from_metadata(table, root, audio)
  if below := [path for path in files if path.name in TABLES]:
    raise DataError(
      f"data.path: {below[0]} is not at the top of {root}; name its folder"
    )
  if transcripts := [path for path in files if path.name.endswith(".trans.txt")]:
    return libri.from_transcripts(transcripts, audio)
  if beside := _texts_beside(audio, files):
    return _from_texts_beside(root, audio, beside)
  if any(map(libri.is_librilight, audio)):
    return libri.from_librilight(audio)
  return [
    AudioFile(path, _stem(path, root), _speaker(path, root), None) for path in audio
  ], []


def list_table(path: pathlib.Path) -> tuple[list[AudioFile], Problems]:
  """Returns the recordings that a table or plain list of files names.

  Its names are paths, absolute or from its folder; see `read_metadata` for its columns.

  Raises:
    DataError: an unreadable table.
  """
  rows, problems = read_metadata(path)
  items = []
  for row in rows:
    file = path.parent / row.id.replace("\\", "/")
    if file.is_file():
      inside = file.is_relative_to(path.parent)
      name = _stem(file, path.parent) if inside else printable(str(file))
      speaker = _speaker(file, path.parent) if inside else UNKNOWN_SPEAKER
      items.append(AudioFile(file, name, row.speaker or speaker, row.text))
    else:
      problems.append(problem(row.id, f"{path}:{row.line}: there is no file {file}"))
  return items, problems


def _from_metadata(table, root, audio):
  rows, problems = read_metadata(table)
  lookup = FileLookup(root, audio)
  items = []
  for row, (name, found) in zip(rows, lookup.find([r.id for r in rows]), strict=True):
    if len(found) == 1:
      speaker = row.speaker or UNKNOWN_SPEAKER
      items.append(AudioFile(found[0], name, speaker, row.text))
    else:
      what = "has several audio files" if found else "has no audio file"
      where = f"{table}:{row.line}"
      problems.append(problem(row.id, f"{where}: {row.id!r} {what} under {root}"))
  return items, problems


def _texts_beside(audio, files):
  """Returns the text of each audio file that has one beside it, read, by its path."""
  known = {
    same_letters(f"{path.with_suffix('')}{path.suffix.lower()}"): path for path in files
  }
  beside = {}
  for path in audio:
    names = (same_letters(str(path.with_suffix(""))) + end for end in _TEXT_SUFFIXES)
    if (found := next(filter(known.get, names), None)) and not _is_alignment(
      known[found]
    ):
      beside[path] = known[found]
  return beside


def _is_alignment(path):
  if path.suffix.lower() != ".lab":
    return False
  try:
    lines = [line for line in read_text(path).split("\n") if line.strip()]
  except DataError:  # a problem once it is read for its text
    return False
  return bool(lines) and all(_ALIGNMENT.match(line.strip()) for line in lines)


def _from_texts_beside(root, audio, beside):
  items, problems = [], []
  for path in audio:
    try:
      text = " ".join(read_text(beside[path]).split()) if path in beside else None
    except DataError as error:
      problems.append(problem(path, str(error)))
      continue
    if text == "":
      problems.append(problem(path, f"{beside[path]}: is empty"))
    elif text and libri.is_libritts(path):
      items.append(AudioFile(path, path.stem, path.stem.split("_")[0], text))
    else:
      items.append(AudioFile(path, _stem(path, root), _speaker(path, root), text))
  return items, problems


def _stem(path, root):
  return printable(path.relative_to(root).with_suffix("").as_posix())


def _speaker(path, root):
  folders = path.relative_to(root).parts[:-1]
  others = "wavs", ".."
  names = [name for name in folders if name not in others and not libri.is_subset(name)]
  return printable(names[0]) if names else UNKNOWN_SPEAKER
