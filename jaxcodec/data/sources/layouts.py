"""Lists the recordings of a folder, with texts and speakers, in any known layout."""

import collections
import pathlib

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
from jaxcodec.data.sources.metadata_csv import read_metadata

_TEXT_SUFFIXES = (*libri.TTS_TEXTS, ".txt")


def list_folder(root: pathlib.Path) -> tuple[list[AudioFile], Problems]:
  """Returns the recordings under `root`, in order, and the problems in listing them.

  The layout is the first of these that fits: `metadata.csv` in `root` (files that it
  does not list are left out); LibriSpeech's `*.trans.txt`; a `.txt` beside each file,
  as in LibriTTS; Libri-Light's `.json`; no text at all. Except in the Libri corpora,
  the speaker is the first folder below `root` that isn't named like a subset (`train`).

  Raises:
    DataError: no such folder, no audio in it, or an unreadable table.
  """
  if not root.is_dir():
    raise DataError(f"data.path: {root} is not a folder")
  files = [path for path in sorted(root.rglob("*")) if not _hidden(path, root)]
  audio = [path for path in files if path.suffix.lower() in SUFFIXES]
  if not audio:
    raise DataError(f"data.path: no {', '.join(SUFFIXES)} file anywhere under {root}")
  if (root / "metadata.csv").is_file():
    return _from_metadata(root, audio)
  if below := [path for path in files if path.name == "metadata.csv"]:
    raise DataError(
      f"data.path: {below[0]} is not at the top of {root}; name its folder"
    )
  if transcripts := [path for path in files if path.name.endswith(".trans.txt")]:
    return libri.from_transcripts(transcripts, audio)
  if any(_text_beside(path) for path in audio):
    return _from_texts_beside(root, audio)
  if any(map(libri.is_librilight, audio)):
    return libri.from_librilight(audio)
  return [
    AudioFile(path, _stem(path, root), _speaker(path, root), None) for path in audio
  ], []


def _from_metadata(root, audio):
  rows, problems = read_metadata(root / "metadata.csv")
  by_stem = collections.defaultdict(list)
  for path in audio:
    for key in {path.stem, path.name, _stem(path, root), str(path.relative_to(root))}:
      by_stem[key].append(path)
  items = []
  for row in rows:
    found = by_stem.get(row.id, [])
    if len(found) == 1:
      speaker = row.speaker or UNKNOWN_SPEAKER
      items.append(AudioFile(found[0], row.id, speaker, row.text))
    else:
      what = "has several audio files" if found else "has no audio file"
      where = f"{root / 'metadata.csv'}:{row.line}"
      problems.append(problem(row.id, f"{where}: {row.id!r} {what} under {root}"))
  return items, problems


def _from_texts_beside(root, audio):
  items, problems = [], []
  for path in audio:
    beside = _text_beside(path)
    text = " ".join(read_text(beside).split()) if beside else ""
    if text and libri.is_libritts(path):
      items.append(AudioFile(path, path.stem, path.stem.split("_")[0], text))
    elif text:
      items.append(AudioFile(path, _stem(path, root), _speaker(path, root), text))
    else:
      reason = f"{beside}: is empty" if beside else f"{path}: has no .txt beside it"
      problems.append(problem(path, reason))
  return items, problems


def _text_beside(path):
  candidates = (path.with_name(path.stem + suffix) for suffix in _TEXT_SUFFIXES)
  return next((candidate for candidate in candidates if candidate.is_file()), None)


def _hidden(path, root):
  return any(part.startswith(".") for part in path.relative_to(root).parts)


def _stem(path, root):
  return path.relative_to(root).with_suffix("").as_posix()


def _speaker(path, root):
  folders = path.relative_to(root).parts[:-1]
  names = [name for name in folders if name != "wavs" and not libri.is_subset(name)]
  return names[0] if names else UNKNOWN_SPEAKER
