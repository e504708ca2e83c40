"""Which recordings a folder holds, with their texts and speakers, by its layout."""

import collections
import dataclasses
import pathlib

from jaxcodec.data.audio_io import SUFFIXES
from jaxcodec.data.metadata_csv import read_metadata
from jaxcodec.data.source import DataError

UNKNOWN_SPEAKER = "unknown"
# LibriTTS keeps its normalised text beside the original.
_TEXT_SUFFIXES = (".normalized.txt", ".txt")


@dataclasses.dataclass(frozen=True)
class Item:
  """An audio file and its labels. Prints as its path."""

  path: pathlib.Path
  id: str
  speaker: str
  text: str | None

  def __str__(self):
    return str(self.path)


Problems = list[dict[str, str]]


def list_folder(root: pathlib.Path) -> tuple[list[Item], Problems]:
  """Recordings under `root`, in order, and what is wrong with the listing.

  The first of these that fits: `metadata.csv` in `root` (files that it does not list
  are not part of the set); LibriSpeech's `*.trans.txt`; a `.txt` beside each file;
  no text at all. In the last two the speaker is the first folder below `root`.

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
    return _from_transcripts(transcripts, audio)
  if any(_text_beside(path) for path in audio):
    return _from_texts_beside(root, audio)
  return [
    Item(path, _stem(path, root), _speaker(path, root), None) for path in audio
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
      items.append(Item(found[0], row.id, speaker, row.text))
    else:
      what = "has several audio files" if found else "has no audio file"
      where = f"{root / 'metadata.csv'}:{row.line}"
      problems.append(_problem(row.id, f"{where}: {row.id!r} {what} under {root}"))
  return items, problems


def _from_transcripts(transcripts, audio):
  by_id = {(path.parent, path.stem): path for path in audio}
  items, problems = [], []
  for transcript in transcripts:
    for number, line in enumerate(_read(transcript).splitlines(), 1):
      key, _, text = line.strip().partition(" ")
      path = by_id.pop((transcript.parent, key), None)
      if key and path and text.strip():
        items.append(Item(path, key, key.split("-")[0], text.strip()))
      elif key:
        what = "has no text" if path else "has no audio file beside it"
        problems.append(_problem(key, f"{transcript}:{number}: {key!r} {what}"))
  for path in by_id.values():
    problems.append(_problem(path, f"{path}: no *.trans.txt beside it has its text"))
  return items, problems


def _from_texts_beside(root, audio):
  items, problems = [], []
  for path in audio:
    beside = _text_beside(path)
    text = " ".join(_read(beside).split()) if beside else ""
    if text:
      items.append(Item(path, _stem(path, root), _speaker(path, root), text))
    else:
      reason = f"{beside}: is empty" if beside else f"{path}: has no .txt beside it"
      problems.append(_problem(path, reason))
  return items, problems


def _text_beside(path):
  candidates = (path.with_name(path.stem + suffix) for suffix in _TEXT_SUFFIXES)
  return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read(path):
  try:
    return path.read_text(encoding="utf-8-sig")
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _problem(item, reason):
  return {"item": str(item), "reason": reason}


def _hidden(path, root):
  return any(part.startswith(".") for part in path.relative_to(root).parts)


def _stem(path, root):
  return path.relative_to(root).with_suffix("").as_posix()


def _speaker(path, root):
  parts = path.relative_to(root).parts
  return parts[0] if len(parts) > 1 and parts[0] != "wavs" else UNKNOWN_SPEAKER
