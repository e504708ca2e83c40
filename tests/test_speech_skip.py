"""`synthesize --tsv --on-error skip` with a model that reads files and speaks noise."""

import json
import pathlib

import numpy as np
import pytest
from data_helpers import RATE, write_tone

from jaxcodec import api
from jaxcodec.api.speech_model import Speech
from jaxcodec.cli import speech_files
from jaxcodec.cli.main import main
from jaxcodec.data.audio.files import read_audio

LOST = "lost.wav"  # is gone once it was checked


class Model:
  """Says what a recording says, which it reads to check it and again to speak."""

  def sampler_with(self, **_):
    pass

  def prepare(self, requests, names):
    self._read(requests, names)
    for request in requests:
      if pathlib.Path(request.like).name == LOST:
        pathlib.Path(request.like).unlink()

  def run(self, requests, names, **_):
    return [
      Speech(audio_N, RATE, None, True) for audio_N in self._read(requests, names)
    ]

  def _read(self, requests, names):
    try:
      return [read_audio(pathlib.Path(request.like))[0] for request in requests]
    except ValueError as error:
      raise ValueError(f"{', '.join(names)}: {error}") from error


@pytest.fixture
def table(tmp_path, monkeypatch):
  monkeypatch.setattr(api, "load_slm", lambda weights, **_: Model())
  for name in ("a.wav", LOST, "c.wav"):
    write_tone(tmp_path / name)
  (tmp_path / "bad.wav").write_bytes(b"no sound")
  names = ("a.wav", "bad.wav", LOST, "c.wav")
  rows = [f"{name}\t{name}" for name in names]
  (tmp_path / "jobs.tsv").write_text("\n".join(["out\tlike", *rows]) + "\n")
  return tmp_path / "jobs.tsv"


def test_bad_rows_are_listed_and_the_others_spoken(table, tmp_path, capsys):
  out = tmp_path / "out"
  command = ["synthesize", "--weights", "run", "--tsv", str(table), "--out", str(out)]
  assert main([*command, "--on-error", "skip"]) == 0
  printed = capsys.readouterr()
  assert "2 of 4 spoken" in printed.out and "bad.wav" in printed.err
  rows = {
    pathlib.Path(row["out"]).name: row
    for row in map(json.loads, (out / "index.jsonl").read_text().splitlines())
  }
  assert rows.keys() == {"a.wav", "bad.wav", LOST, "c.wav"}
  assert [name for name, row in rows.items() if "skipped" in row] == ["bad.wav", LOST]
  assert "cannot be read" in rows[LOST]["problem"]
  for name in ("a.wav", "c.wav"):
    spoken_N, original_N = (read_audio(f / name)[0] for f in (out, tmp_path))
    np.testing.assert_allclose(spoken_N, original_N, atol=1e-4)


def test_an_interrupted_table_goes_on(table, tmp_path, monkeypatch, capsys):
  """Rows that were done are not spoken again; another command may not go on."""
  monkeypatch.setattr(speech_files, "_CHUNK", 2)
  table.write_text("\n".join(["out\tlike", *(f"{n}.wav\ta.wav" for n in range(5))]))
  out, spoken, left = tmp_path / "out", [], [4]

  def run(self, requests, names, **_):
    if len(spoken) >= left[0]:
      raise KeyboardInterrupt
    spoken.extend(names)
    return [Speech(audio_N, RATE, None, True) for audio_N in self._read(requests, [])]

  monkeypatch.setattr(Model, "run", run)
  command = ["synthesize", "--weights", "run", "--tsv", str(table), "--out", str(out)]
  assert main(command) == 130 and len(list(out.glob("*.wav"))) == 4
  assert main([*command, "--seed", "1"]) == 2
  assert "an interrupted command that differs in seed" in capsys.readouterr().err
  (out / "1.wav").unlink()
  del spoken[:]
  assert main(command) == 0
  assert [name.rpartition(" ")[2] for name in spoken] == ["3", "6"]
  rows = map(json.loads, (out / "index.jsonl").read_text().splitlines())
  assert sorted(pathlib.Path(row["out"]).stem for row in rows) == list("01234")
  assert main(command) == 2 and "exist already" in capsys.readouterr().err


def test_what_was_spoken_before_an_overwrite_is_spoken_again(
  table, tmp_path, monkeypatch
):
  """The index of an earlier run says nothing of one that was stopped."""
  table.write_text("\n".join(["out\tlike", *(f"{n}.wav\ta.wav" for n in range(3))]))
  out, spoken = tmp_path / "out", []
  command = ["synthesize", "--weights", "run", "--tsv", str(table), "--out", str(out)]
  assert main(command) == 0

  def stopped(self, requests, names, **_):
    raise KeyboardInterrupt

  def run(self, requests, names, **_):
    spoken.extend(names)
    return [Speech(audio_N, RATE, None, True) for audio_N in self._read(requests, [])]

  with monkeypatch.context() as patch:
    patch.setattr(Model, "run", stopped)
    assert main([*command, "--overwrite", "--seed", "1"]) == 130
  monkeypatch.setattr(Model, "run", run)
  assert main([*command, "--seed", "1"]) == 0 and len(spoken) == 3


def test_nothing_but_bad_rows_is_an_error(table, tmp_path, capsys):
  table.write_text("out\tlike\nbad.wav\tbad.wav\n")
  out = tmp_path / "out"
  command = ["synthesize", "--weights", "run", "--tsv", str(table), "--out", str(out)]
  assert main([*command, "--on-error", "skip"]) == 2
  assert "none of 1 can be spoken: " in capsys.readouterr().err and not out.exists()


def test_a_bad_row_stops_before_any_work(table, tmp_path, capsys):
  out = tmp_path / "out"
  command = ["synthesize", "--weights", "run", "--tsv", str(table), "--out", str(out)]
  assert main(command) == 2
  assert "line 3: " in capsys.readouterr().err and not out.exists()
