"""Writes small trees of tones in LibriSpeech's, LibriTTS' and Libri-Light's layouts."""

import json

import soundfile
from data_helpers import RATE, tone


def _write(path, number, rate=RATE):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, tone(0.1 + 0.01 * number, rate, hz=200 + number), rate)


def librispeech(root, splits=("train-clean-100", "dev-clean"), each=6):
  """Writes `each` files of two speakers in every split, with transcripts."""
  (root / "SPEAKERS.TXT").parent.mkdir(parents=True, exist_ok=True)
  (root / "SPEAKERS.TXT").write_text("; about the speakers\n")
  for first, split in enumerate(splits):
    for speaker in (str(10 * first + 1), str(10 * first + 2)):
      chapter = root / split / speaker / "7"
      lines = []
      for number in range(each // 2):
        key = f"{speaker}-7-{number:04d}"
        _write(chapter / f"{key}.flac", number)
        lines.append(f"{key} SAY {number}")
      (chapter / f"{speaker}-7.trans.txt").write_text("\n".join(lines) + "\n")
  return root


def libritts(root):
  """Writes three files of two readers in LibriTTS' layout."""
  for reader, number in (("103", 0), ("103", 1), ("2149", 2)):
    chapter = root / "train-clean-100" / reader / "1241"
    path = chapter / f"{reader}_1241_000000_{number:06d}.wav"
    _write(path, number, 24_000)
    path.with_suffix(".normalized.txt").write_text(f"Number {number}, spoken.")
    path.with_suffix(".original.txt").write_text(f"No. {number}, spoken.")
    (chapter / f"{reader}_1241.trans.tsv").write_text("not read\n")
  return root


def librilight(root):
  """Writes three files of two speakers in two subsets, with their metadata."""
  for size, speaker, number in (
    ("small", "100", 0),
    ("small", "7", 1),
    ("medium", 7, 2),
  ):
    path = root / size / str(speaker) / "a_book_mp3" / f"0{number}_chapter.flac"
    _write(path, number)
    metadata = {"speaker": speaker, "book_meta": {"title": "A Book"}, "snr": 9.5}
    path.with_suffix(".json").write_text(json.dumps(metadata))
  return root
