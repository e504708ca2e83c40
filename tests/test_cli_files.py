"""What `encode` and `decode` do besides: streams, channels, interruptions, faults."""

import errno
import io
import json
import os
import pathlib
import sys

import api_helpers
import numpy as np
import pytest
import soundfile
from api_helpers import RATE

from jaxcodec import api, files
from jaxcodec.cli import codec_files, unfinished
from jaxcodec.cli.main import main
from jaxcodec.types import Tokens

WEIGHTS = ["--weights", "toy"]


@pytest.fixture(scope="module", autouse=True)
def _toy():
  """Makes `toy` the name of weights whose codec is compiled once for all tests."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(api, "load", lambda preset, weights: api_helpers.toy_model())
    yield


def _noise(samples=100, channels=1, seed=0):
  return 0.1 * np.random.default_rng(seed).standard_normal((samples, channels))


def _write(path, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, _noise(**options), RATE)
  return path


def _names(folder):
  return sorted(path.name for path in folder.rglob("*") if path.is_file())


class _Stream:
  """Stands for stdin and stdout, which have their bytes in `buffer`."""

  def __init__(self, content=b""):
    self.buffer = io.BytesIO(content)
    self.write, self.flush = lambda text: None, lambda: None


def _piped(monkeypatch, content, *command):
  """Runs a command with that on stdin; returns what it writes to stdout."""
  out = _Stream()
  monkeypatch.setattr(sys, "stdin", _Stream(content))
  monkeypatch.setattr(sys, "stdout", out)
  assert main([*command, *WEIGHTS]) == 0
  return out.buffer.getvalue()


def test_through_standard_input_and_output(tmp_path, monkeypatch):
  path = _write(tmp_path / "a.wav")
  assert main(["encode", str(path), *WEIGHTS, "--out", str(tmp_path)]) == 0
  tokens = _piped(monkeypatch, path.read_bytes(), "encode", "-", "--out", "-")
  assert tokens == (tmp_path / "a.jxc").read_bytes()
  wav = _piped(monkeypatch, tokens, "decode", "-", "--out", "-")
  audio_N, rate = soundfile.read(io.BytesIO(wav))
  assert (len(audio_N), rate) == (100, RATE)


def test_bad_standard_input_is_called_so(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(sys, "stdin", _Stream(b"no sound" * 9))
  assert main(["encode", "-", *WEIGHTS, "--out", str(tmp_path / "out")]) == 2
  assert "standard input: cannot be read as audio" in capsys.readouterr().err
  two = [str(_write(tmp_path / f"{name}.wav")) for name in "ab"]
  assert main(["encode", *two, *WEIGHTS, "--out", "-"]) == 2
  assert "--out - is for a single file" in capsys.readouterr().err


def test_kept_channels_are_coded_apart_and_joined(tmp_path):
  path = _write(tmp_path / "in" / "stereo.wav", channels=2)
  _write(tmp_path / "in" / "mono.wav", seed=1)
  tokens, wavs = tmp_path / "tokens", tmp_path / "wavs"
  command = ["encode", str(path.parent), *WEIGHTS, "--channels", "keep"]
  assert main([*command, "--out", str(tokens)]) == 0
  assert main(["decode", str(tokens), *WEIGHTS, "--out", str(wavs)]) == 0
  audio_NxC, _ = soundfile.read(wavs / "stereo.wav")
  assert audio_NxC.shape == (100, 2)
  assert soundfile.info(wavs / "mono.wav").channels == 1
  model = api_helpers.toy_model()
  original_NxC = soundfile.read(path, dtype="float32")[0]
  for channel in range(2):
    alone_N = model.decode(model.encode(original_NxC[:, channel]))[0, :, 0]
    np.testing.assert_allclose(
      audio_NxC[:, channel], np.clip(alone_N, -1, 1), atol=1e-4
    )
  loaded = Tokens.load(tokens / "stereo.jxc")
  kept = model.encode(original_NxC[None], channels="keep")
  np.testing.assert_array_equal(loaded.codes_BxTxK, kept.codes_BxTxK)
  assert model.decode(loaded).shape == (1, 100, 2)
  assert model.encode(original_NxC[None], channels="average").codes_BxTxK.shape[0] == 1


@pytest.fixture
def three(tmp_path):
  for seed, name in enumerate("abc"):
    _write(tmp_path / "in" / f"{name}.wav", seed=seed)
  return tmp_path / "in"


def _interrupted_after(monkeypatch, module, name, count):
  """Makes a function raise Ctrl-C's exception at call `count`."""
  real, calls = getattr(module, name), []

  def call(*arguments):
    if len(calls) == count:
      raise KeyboardInterrupt
    calls.append(arguments)
    return real(*arguments)

  monkeypatch.setattr(module, name, call)
  return calls


def test_an_interrupted_encode_goes_on(three, tmp_path, monkeypatch, capsys):
  out = tmp_path / "out"
  command = ["encode", str(three), *WEIGHTS, "--out", str(out)]
  with monkeypatch.context() as patch:
    _interrupted_after(patch, codec_files, "_save", 2)
    assert main(command) == 130
  assert "the same command goes on" in capsys.readouterr().err
  before = {path: path.stat().st_mtime_ns for path in out.glob("*.jxc")}
  assert len(before) == 2
  assert main([*command, "--num-codebooks", "1", "--entropy"]) == 2
  assert "differs in num_codebooks, entropy" in capsys.readouterr().err
  assert main(command) == 0
  assert "3 of 3 files done, 2 of them before" in capsys.readouterr().out
  assert _names(out) == ["a.jxc", "b.jxc", "c.jxc"]
  assert all(path.stat().st_mtime_ns == then for path, then in before.items())
  assert main(command) == 2  # finished, so that outputs are kept


def test_an_interrupted_encode_of_other_files_is_another_command(
  three, tmp_path, monkeypatch, capsys
):
  """Files of the same names, which a later look would take for done."""
  out, others = tmp_path / "out", tmp_path / "others"
  for name in "abc":
    _write(others / f"{name}.wav", seed=9)
  with monkeypatch.context() as patch:
    _interrupted_after(patch, codec_files, "_save", 2)
    assert main(["encode", str(three), *WEIGHTS, "--out", str(out)]) == 130
  assert main(["encode", str(others), *WEIGHTS, "--out", str(out)]) == 2
  assert "differs in inputs" in capsys.readouterr().err
  monkeypatch.chdir(three.parent)
  assert main(["encode", three.name, *WEIGHTS, "--out", str(out)]) == 0


def test_an_interrupted_decode_goes_on(three, tmp_path, monkeypatch):
  tokens, out = tmp_path / "tokens", tmp_path / "out"
  assert main(["encode", str(three), *WEIGHTS, "--out", str(tokens)]) == 0
  command = ["decode", str(tokens), *WEIGHTS, "--out", str(out)]
  with monkeypatch.context() as patch:
    _interrupted_after(patch, codec_files, "write_wav", 1)
    assert main(command) == 130
  assert len(list(out.glob("*.wav"))) == 1 and unfinished.is_there(out)
  calls = _interrupted_after(monkeypatch, codec_files, "write_wav", 9)
  assert main(command) == 0
  assert len(calls) == 2 and _names(out) == ["a.wav", "b.wav", "c.wav"]


def test_what_was_there_before_an_overwrite_is_not_taken_for_done(
  three, tmp_path, monkeypatch, capsys
):
  tokens, out = tmp_path / "tokens", tmp_path / "out"
  assert main(["encode", str(three), *WEIGHTS, "--out", str(tokens)]) == 0
  command = ["decode", str(tokens), *WEIGHTS, "--out", str(out)]
  assert main(command) == 0
  with monkeypatch.context() as patch:
    _interrupted_after(patch, codec_files, "write_wav", 1)
    assert main([*command, "--overwrite"]) == 130
  assert "the same command without --overwrite goes on" in capsys.readouterr().err
  calls = _interrupted_after(monkeypatch, codec_files, "write_wav", 9)
  assert main(command) == 0 and len(calls) == 2


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_what_fails_after_the_check_is_skipped(
  three, tmp_path, monkeypatch, command, capsys
):
  source = three
  if command == "decode":
    source = tmp_path / "tokens"
    assert main(["encode", str(three), *WEIGHTS, "--out", str(source)]) == 0
  real = codec_files.scan_all

  def scan_and_spoil(*arguments):
    result = real(*arguments)
    victim = next(source.glob("b.*"))
    victim.write_bytes(victim.read_bytes()[:60])
    return result

  monkeypatch.setattr(codec_files, "scan_all", scan_and_spoil)
  out = tmp_path / "out"
  options = [command, str(source), *WEIGHTS, "--out", str(out)]
  assert main([*options, "--on-error", "skip"]) == 0
  suffix = {"encode": "jxc", "decode": "wav"}[command]
  assert _names(out) == [f"a.{suffix}", f"c.{suffix}", "skipped.json"]
  (entry,) = json.loads((out / "skipped.json").read_text())
  assert "b." in entry["item"] and "truncated" in entry["reason"]
  assert "2 of 3 files done" in capsys.readouterr().out


def test_token_files_of_different_depths_are_decoded_together(three, tmp_path):
  for name, K in (("a", "1"), ("b", "2")):
    command = ["encode", str(three / f"{name}.wav"), "--num-codebooks", K, *WEIGHTS]
    assert main([*command, "--out", str(tmp_path / "tokens")]) == 0
  out = tmp_path / "out"
  assert main(["decode", str(tmp_path / "tokens"), *WEIGHTS, "--out", str(out)]) == 0
  assert _names(out) == ["a.wav", "b.wav"]


def test_two_files_never_become_one(tmp_path, capsys):
  model, folder = api_helpers.toy_model(), tmp_path / "tokens"
  folder.mkdir()
  model.encode(_noise()[None, :, 0].repeat(2, 0), sample_rate=RATE).save(
    folder / "a.jxc"
  )
  model.encode(_noise()[:, 0], sample_rate=RATE).save(folder / "a.0.jxc")
  command = ["decode", str(folder), *WEIGHTS, "--out", str(tmp_path / "out")]
  assert main(command) == 2
  assert "would both become" in capsys.readouterr().err


def test_a_folder_says_what_it_left_out(three, tmp_path, capsys):
  for name in ("a.txt", "b.txt", "c.json", "README"):
    (three / name).touch()
  assert main(["encode", str(three), *WEIGHTS, "--out", str(tmp_path / "out")]) == 0
  assert "left out 4 files" in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk(three, tmp_path, monkeypatch, capsys, number):
  tokens = tmp_path / "tokens"
  assert main(["encode", str(three), *WEIGHTS, "--out", str(tokens)]) == 0
  real = pathlib.Path.write_bytes

  def write_bytes(path, content):
    if path.suffix == ".wav":
      raise OSError(number, os.strerror(number))
    return real(path, content)

  monkeypatch.setattr(pathlib.Path, "write_bytes", write_bytes)
  out = tmp_path / "out"
  assert main(["decode", str(tokens), *WEIGHTS, "--out", str(out)]) == 2
  message = capsys.readouterr().err.splitlines()[-1]
  assert os.strerror(number) in message and "a.wav" in message
  assert not list(out.glob("*.wav*"))


def test_a_folder_that_cannot_be_made(three, tmp_path, capsys):
  (tmp_path / "file").touch()
  for out in ("file", "file/out"):
    assert main(["encode", str(three), *WEIGHTS, "--out", str(tmp_path / out)]) == 2
    said = f"--out: {tmp_path / 'file'} is a file, and outputs go to a folder"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
  ("command", "problem"),
  [
    (["encode", "a.wav", "--block", "1"], "--block is for --stream alone"),
    (
      ["export", "run", "--as", "programs", "--bits", "8"],
      "--bits is for --as weights",
    ),
    (["export", "run", "--seconds", "9"], "--seconds is for --as programs alone"),
    (["doctor", "--set", "seed=1"], "--set is for --config alone"),
  ],
)
def test_options_that_would_do_nothing(command, problem, capsys):
  out = [] if command[0] == "doctor" else ["--out", "there"]
  assert main([*command, *out]) == 2
  assert problem in capsys.readouterr().err


def test_replacing_names_the_file_of_an_error(tmp_path):
  with pytest.raises(OSError, match="a.txt"), files.replacing(tmp_path / "a.txt"):
    raise OSError(errno.ENOSPC, "No space left on device")
