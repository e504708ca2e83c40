"""Files that were read before are not read again, unless they have changed."""

import json
import os

import numpy as np
import pytest
import soundfile

from jaxcodec.data.source import DataError
from jaxcodec.data.sources import checked, folder, known_files

RATE = 8000


@pytest.fixture
def corpus(tmp_path, monkeypatch):
  monkeypatch.setenv("JAXCODEC_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(checked, "MANY", 3)
  root = tmp_path / "corpus"
  (root / "ann").mkdir(parents=True)
  for number in range(3):
    audio_N = np.random.default_rng(number).uniform(-0.5, 0.5, 4000 + number)
    soundfile.write(root / "ann" / f"{number}.wav", audio_N, RATE)
  return root


@pytest.fixture
def read(monkeypatch):
  """Returns the names of the files that are read."""
  names = []

  def note(path, read_audio=folder.read_audio):
    names.append(path.name)
    return read_audio(path)

  monkeypatch.setattr(folder, "read_audio", note)
  return names


def _open(root, **options):
  return folder.open_folder(str(root), sample_rate=RATE, cache_bytes=0, **options)


def test_a_second_start_reads_what_has_changed_and_nothing_else(corpus, read):
  first = _open(corpus)
  assert sorted(read) == ["0.wav", "1.wav", "2.wav"]
  read.clear()
  again = _open(corpus)
  assert not read
  assert (again.utterances, again.fingerprint) == (first.utterances, first.fingerprint)
  assert len(again.audio(1, RATE)) == 4001 and read == ["1.wav"]
  read.clear()
  (corpus / "ann" / "2.wav").write_bytes((corpus / "ann" / "1.wav").read_bytes())
  os.utime(corpus / "ann" / "2.wav", ns=(1, 1))
  changed = _open(corpus)
  assert read == ["2.wav"] and changed.utterances[2].seconds == 4001 / RATE
  assert changed.fingerprint != first.fingerprint


def test_damage_is_found_whatever_is_known(corpus, read):
  _open(corpus)
  (corpus / "ann" / "0.wav").write_bytes(b"no sound")
  for _ in range(2):  # a bad file is read at every start
    read.clear()
    with pytest.raises(DataError, match="0.wav"):
      _open(corpus)
    assert _open(corpus, on_error="skip").utterances[0].id == "ann/1"
    assert set(read) == {"0.wav"}


def test_a_record_that_cannot_be_read_is_as_good_as_none(corpus, read, tmp_path):
  _open(corpus)
  (part,) = (tmp_path / "cache" / "known_files").rglob("*.jsonl")
  lines = part.read_text().splitlines()
  odd = ["[", json.dumps(["a", [1], [2]]), "7", lines[0]]
  part.write_text("\n".join(odd))
  read.clear()
  source = _open(corpus)
  assert len(source.utterances) == 3 and len(read) == 2
  part.write_bytes(b"\xff\xfe")
  for other in part.parent.glob("*.jsonl"):
    if other != part:
      other.unlink()
  assert len(known_files.KnownFiles(part.parent)._known) == 0


def test_few_files_leave_no_record(corpus, read, tmp_path, monkeypatch):
  monkeypatch.setattr(checked, "MANY", 4)
  _open(corpus)
  assert not (tmp_path / "cache").exists()
