"""Recordings of any length in pieces: reading, building sets, measuring."""

import json

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds
from evals_helpers import RATE, voice

from jaxcodec.cli import recording_parts
from jaxcodec.cli.main import main
from jaxcodec.data.audio.pieces import read_pieces
from jaxcodec.data.prepare.build import build
from jaxcodec.data.source import DataError
from jaxcodec.evals.results import read_results


def _write(path, audio, rate=RATE):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, audio, rate, "PCM_16")
  return path


@pytest.mark.parametrize(
  "seconds, count, lengths",
  [
    (2.5, None, [2.5]),
    (2.9, None, [2.9]),  # a rest of less than a second stays
    (3.0, None, [2.0, 1.0]),
    (7.3, None, [2.0, 2.0, 2.0, 1.3]),
    (6.5, 3, [2.0, 2.0, 2.5]),
    (4.9, 3, [2.0, 2.0, 0.9]),
  ],
)
def test_pieces_are_the_whole(tmp_path, seconds, count, lengths):
  audio_NxC = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * RATE), 2))
  path = _write(tmp_path / "long.wav", audio_NxC)
  pieces = list(read_pieces(path, 2, count))
  assert [len(p.audio_N) / RATE for p in pieces] == pytest.approx(lengths)
  assert [p.begin for p in pieces] == [2 * n for n in range(len(lengths))]
  assert [p.whole for p in pieces] == [len(lengths) == 1] * len(lengths)
  stored_NxC = soundfile.read(path, dtype="float32")[0]
  np.testing.assert_array_equal(
    np.concatenate([p.audio_N for p in pieces]), stored_NxC.mean(axis=1)
  )


def test_a_file_that_is_damaged_at_its_end_gives_no_piece(tmp_path):
  path = _write(tmp_path / "long.flac", voice(0, 5))
  path.write_bytes(path.read_bytes()[:-1000])
  with pytest.raises(DataError, match="long.flac"):
    next(read_pieces(path, 1))


def test_a_set_has_a_long_recording_in_pieces(tmp_path):
  tree = tmp_path / "in"
  audio_N = voice(0, 5.5)
  for name, sound_N in (("long", audio_N), ("short", voice(1, 1.5))):
    _write(tree / f"{name}.wav", sound_N).with_suffix(".txt").write_text(f"say {name}")
  done = build(tree, tmp_path, name="pieces", processes=1, max_seconds=2)
  assert done.splits == {"train": 4} and done.cut == 1
  assert done.hours == pytest.approx(7.0 / 3600)
  examples = {
    example["id"].decode(): example
    for example in tfds.data_source("pieces", data_dir=tmp_path, split="train")
  }
  pieces = [examples.pop(f"long@{begin}") for begin in (0, 2, 4)]
  stored_N = soundfile.read(tree / "long.wav", dtype="int16")[0]
  np.testing.assert_array_equal(np.concatenate([p["audio"] for p in pieces]), stored_N)
  assert {p["text"] for p in pieces} == {b""}
  assert list(examples) == ["short"] and examples["short"]["text"] == b"say short"
  lines = (done.folder / "manifest.jsonl").read_text().splitlines()
  entries = {entry["id"]: entry for entry in map(json.loads, lines)}
  assert entries["long@4"]["begin"] == 4 and "begin" not in entries["short"]
  assert entries["long@4"]["sha256"] == entries["long@0"]["sha256"]
  with pytest.raises(DataError, match="another build, which differs in max_seconds"):
    build(tree, tmp_path, name="pieces", processes=1, max_seconds=3)


def test_long_files_are_measured_part_by_part(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(recording_parts, "LONGEST_S", 5)
  monkeypatch.setattr(recording_parts, "PART_S", 2)
  rng = np.random.default_rng(0)
  for name, seconds in (("long", 6.99), ("short", 3)):
    audio_N = voice(len(name), seconds)
    noisy_N = audio_N + 0.01 * rng.standard_normal(len(audio_N))
    noisy_N = noisy_N[: -RATE // 50]
    _write(tmp_path / f"in/{name}.wav", audio_N).with_suffix(".txt").write_text("So.")
    _write(tmp_path / f"out/{name}.wav", noisy_N)
    for begin in range(0, 6, 2):  # as files of their own
      end = None if begin == 4 else (begin + 2) * RATE
      where = slice(begin * RATE, end)
      _write(tmp_path / f"parts/in/{name}@{begin}.wav", audio_N[where])
      if len(audio_N) > 5 * RATE:
        _write(tmp_path / f"parts/out/{name}@{begin}.wav", noisy_N[where])
  options = ["--metrics=stoi,si_sdr", "--as=reconstruction"]
  rows = {}
  for folder in (tmp_path, tmp_path / "parts"):
    out = str(folder / "measured")
    command = ["evaluate", f"--reference={folder}/in", f"--generated={folder}/out"]
    assert main([*command, f"--out={out}", "--on-error=skip", *options]) == 0
    for row in read_results(tmp_path / out / "results.json")["utterances"]:
      if row["set"] == "reconstruction":
        rows.setdefault(row["id"], []).append(row)
  assert "those over 5 s in 3 parts of 2 s, without texts" in capsys.readouterr().out
  assert sorted(rows) == ["long@0", "long@2", "long@4", "short"]
  assert rows["short"][0]["text"] == "So."
  for name in ("long@0", "long@2", "long@4"):
    found, apart = rows[name]
    assert found["text"] is None
    for metric in ("stoi", "si_sdr", "seconds"):
      assert found[metric] == pytest.approx(apart[metric], rel=1e-6)
