"""The trees of LibriSpeech, LibriTTS and Libri-Light: ids, speakers and texts.

LibriSpeech (openslr.org/12) has `84-121123.trans.txt` beside a chapter's files,
LibriTTS (openslr.org/60) `103_1241_000000_000001.normalized.txt` and `.original.txt`
beside each file, Libri-Light (github.com/facebookresearch/libri-light) `NAME.json` and
no text.
"""

import json
import pathlib
import re
from collections.abc import Iterable, Sequence

from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import AudioFile, Problems, problem, read_text

TTS_TEXTS = (".normalized.txt", ".original.txt")
_TTS_STEM = re.compile(r"\d+_\d+_\d+_\d+")
# Names of folders that are parts of a corpus, not speakers.
_SUBSET = re.compile(
  r"(train|dev|valid|validation|test)([-_].*)?|small|medium|large|duplicate"
)


def is_subset(folder: str) -> bool:
  """Tells whether a folder is named like a part of a corpus, as `train-clean-100`."""
  return _SUBSET.fullmatch(folder) is not None


def is_libritts(path: pathlib.Path) -> bool:
  """Tells whether a file is named reader_book_paragraph_sentence, as in LibriTTS."""
  return _TTS_STEM.fullmatch(path.stem) is not None


def is_librilight(path: pathlib.Path) -> bool:
  """Tells whether a file has Libri-Light's metadata beside it."""
  return path.suffix == ".flac" and path.with_suffix(".json").is_file()


def from_transcripts(
  transcripts: Sequence[pathlib.Path], audio: Iterable[pathlib.Path]
) -> tuple[list[AudioFile], Problems]:
  """Lists LibriSpeech: a line of a chapter's transcript is an id and its text."""
  by_id = {(path.parent, path.stem): path for path in audio}
  items, problems = [], []
  for transcript in transcripts:
    for number, line in enumerate(read_text(transcript).split("\n"), 1):
      key, _, text = line.strip().partition(" ")
      path = by_id.pop((transcript.parent, key), None)
      if key and path and text.strip():
        items.append(AudioFile(path, key, key.split("-")[0], text.strip()))
      elif key:
        what = "has no text" if path else "has no audio file beside it"
        problems.append(problem(key, f"{transcript}:{number}: {key!r} {what}"))
  for path in by_id.values():
    beside = [one.name for one in transcripts if one.parent == path.parent]
    where = ", ".join(beside) or "a *.trans.txt beside it"
    problems.append(problem(path, f"{path}: its text is not in {where}"))
  return items, problems


def from_librilight(audio: Sequence[pathlib.Path]) -> tuple[list[AudioFile], Problems]:
  """Lists Libri-Light: ids are speaker/book/file, from any folder of the tree."""
  items, problems = [], []
  for path in audio:
    try:
      speaker = _speaker_in(path.with_suffix(".json"))
    except DataError as error:
      problems.append(problem(path, str(error)))
    else:
      key = "/".join([*path.parts[-3:-1], path.stem])
      items.append(AudioFile(path, key, speaker, None))
  return items, problems


def _speaker_in(path):
  if not path.is_file():
    raise DataError(f"{path}: is missing; every flac of Libri-Light has one")
  try:
    speaker = json.loads(read_text(path))["speaker"]
  except (ValueError, KeyError, TypeError) as error:
    raise DataError(f"{path}: has no JSON with a 'speaker': {error!r}") from error
  if not isinstance(speaker, str | int) or not str(speaker):
    raise DataError(f"{path}: 'speaker' must be a name or number, got {speaker!r}")
  return str(speaker)
