"""`encode --stream` and `decode --stream`: pipes, files, and what a kill leaves."""

import argparse
import io
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time
import types

import api_helpers
import numpy as np
import pytest
import soundfile
from api_helpers import RATE, K, V

from jaxcodec import api, token_file
from jaxcodec.cli import streams
from jaxcodec.cli.main import main
from jaxcodec.coding import contexts
from jaxcodec.coding.growing import Reader, Writer
from jaxcodec.data.audio import files as audio_files
from jaxcodec.data.audio import pcm
from jaxcodec.types import Tokens, TokenSpec

LENGTHS = [
  # looks ahead, samples; options; frames of a block, of 50 a second
  (0, dict(), 50),
  (5760, dict(), 180),  # DAC's at 16 kHz
  (100, dict(), 50),
  (5760, dict(block=0.5), 25),
  (0, dict(realtime=True), 1),
  (5760, dict(realtime=True), 5),
]
WEIGHTS = ["--weights", "toy", "--stream"]
HEADER = dict(
  spec=dict(num_codebooks=K, codebook_size=V, hop=2, sample_rate=RATE),
  num_codebooks=K,
  sample_rate=RATE,
  fingerprint="ab",
  version="0",
)


@pytest.mark.parametrize("lookahead, options, frames", LENGTHS)
def test_blocks_are_long_where_a_codec_computes_much_anew(lookahead, options, frames):
  arguments = argparse.Namespace(**{"block": None, "realtime": False, **options})
  stream = types.SimpleNamespace(lookahead=lookahead, hop=320)
  codec = types.SimpleNamespace(spec=TokenSpec(8, 1024, 320, 16_000))
  assert streams._block(arguments, stream, codec) == frames


@pytest.fixture(scope="module", autouse=True)
def _toy():
  """Makes `toy` the name of weights whose codec is compiled once for all tests."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(api, "load", lambda preset, weights: api_helpers.toy_model())
    yield


class _Pipe:
  """Stands for stdin and stdout, which have their bytes in `buffer`."""

  def __init__(self, content=b""):
    self.buffer = io.BytesIO(content)
    self.write, self.flush = lambda text: None, lambda: None


def piped(monkeypatch, content, *command):
  """Runs a command with that on stdin; returns what it writes to stdout."""
  out = _Pipe()
  monkeypatch.setattr(sys, "stdin", _Pipe(content))
  monkeypatch.setattr(sys, "stdout", out)
  assert main([*command, *WEIGHTS, "--out", "-"]) == 0
  return out.buffer.getvalue()


def noise(*shape):
  return 0.1 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def wav(audio, rate=RATE, subtype="PCM_16"):
  content = io.BytesIO()
  soundfile.write(content, audio, rate, subtype, format="WAV")
  return content.getvalue()


@pytest.mark.parametrize("entropy", [[], ["--entropy"]])
def test_a_pipe_gives_the_tokens_and_the_audio_of_the_whole(
  monkeypatch, tmp_path, entropy
):
  content, path = wav(noise(2001)), tmp_path / "a.jxc"
  tokens = piped(monkeypatch, content, "encode", "-", "--block", "0.05", *entropy)
  path.write_bytes(tokens)
  model, audio = api_helpers.toy_model(), soundfile.read(io.BytesIO(content))[0]
  whole, found = model.encode(audio), Tokens.load(path)
  np.testing.assert_array_equal(found.codes_BxTxK, whole.codes_BxTxK)
  assert found.origin == whole.origin or found.origin.num_samples_B == [2001]
  header = token_file.read_header(path)
  assert header["complete"] and header["num_samples"] == [2001]
  assert header.get("coding") == (entropy and "adaptive" or None)
  heard = piped(monkeypatch, tokens, "decode", "-")
  samples = np.frombuffer(heard[44:], "<i2") / 32768
  expected = np.clip(model.decode(whole)[0, :, 0], -1, 32767 / 32768)
  np.testing.assert_allclose(samples, expected, rtol=0, atol=2e-5)
  assert soundfile.read(io.BytesIO(heard))[0].shape == (2001,)
  assert piped(monkeypatch, tokens, "decode", "-", "--raw") == heard[44:]
  raw = (audio * 32768).astype("<i2").tobytes()
  again = piped(monkeypatch, raw, "encode", "-", "--raw", "--block", "0.05", *entropy)
  assert again == tokens


@pytest.mark.parametrize("subtype,channels", [("FLOAT", 2), ("PCM_32", 1)])
def test_other_rates_and_samples(monkeypatch, tmp_path, subtype, channels):
  content = wav(noise(3000, channels), 22_050, subtype) + b"LIST\x04\0\0\0none"
  tokens = piped(monkeypatch, content, "encode", "-")
  (tmp_path / "a.jxc").write_bytes(tokens)
  audio_NxC = soundfile.read(io.BytesIO(content), always_2d=True, dtype="float32")[0]
  found = Tokens.load(tmp_path / "a.jxc")
  whole = api_helpers.toy_model().encode(audio_NxC.mean(1), 22_050)
  np.testing.assert_array_equal(found.codes_BxTxK, whole.codes_BxTxK)
  assert found.origin.sample_rate == 22_050
  assert found.origin.num_samples_B.tolist() == [3000]


def test_files_and_what_is_there_already(tmp_path, capsys):
  path, out = tmp_path / "a.flac", str(tmp_path / "out")
  soundfile.write(path, noise(2000), RATE)
  encode = ["encode", str(path), *WEIGHTS, "--out", out]
  decode = ["decode", f"{out}/a.jxc", *WEIGHTS, "--out", out]
  assert main(encode) == main(decode) == 0
  assert soundfile.info(f"{out}/a.wav").frames == 2000
  assert main(encode) == main(decode) == 2
  assert "exist already" in capsys.readouterr().err
  assert main([*encode, "--overwrite"]) == 0


@pytest.mark.parametrize(
  ("audio", "problem"),
  [
    (noise(0), "has no samples"),
    (noise(900) * np.nan, "contains NaN or Inf samples"),
    (noise(900) * 99, "expected them within [-1, 1]"),
  ],
)
def test_bad_audio_leaves_what_was_there(tmp_path, capsys, audio, problem):
  path, target = tmp_path / "a.wav", tmp_path / "a.jxc"
  soundfile.write(path, audio, RATE, "FLOAT")
  command = ["encode", str(path), *WEIGHTS, "--out", str(tmp_path)]
  assert main(command) == 2 and not target.exists()
  assert problem in capsys.readouterr().err
  target.write_text("good")
  assert main([*command, "--overwrite"]) == 2 and target.read_text() == "good"


def test_a_wav_that_breaks_off_is_no_complete_one(monkeypatch, tmp_path, capsys):
  whole = wav(noise(RATE * 3))
  monkeypatch.setattr(sys, "stdin", _Pipe(whole[: 44 + RATE * 4]))
  assert main(["encode", "-", *WEIGHTS, "--out", str(tmp_path)]) == 2
  said = f"standard input: truncated: its header promises {RATE * 6} bytes of samples"
  assert said in capsys.readouterr().err
  header = token_file.read_header(tmp_path / "stdin.jxc")
  assert not header["complete"] and header["num_samples"] > [RATE]


@pytest.mark.parametrize("size", [0, 0x7F000000, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_length_that_was_never_filled_in_is_all_that_comes(size):
  content = bytearray(wav(noise(900)))
  content[40:44] = struct.pack("<I", size)
  pipe = io.BytesIO(content)
  form = pcm.read_wav_head(pipe, "it")
  assert form.num_bytes is None
  assert sum(map(len, form.blocks(pipe, 100, "it"))) == 900


def test_a_wav_file_that_would_be_too_long(tmp_path, monkeypatch, capsys):
  soundfile.write(tmp_path / "a.wav", noise(2000), RATE)
  out = ["--out", str(tmp_path / "out")]
  assert main(["encode", str(tmp_path / "a.wav"), *WEIGHTS, *out]) == 0
  monkeypatch.setattr(audio_files, "MAX_WAV", 3000)
  decode = ["decode", f"{tmp_path}/out/a.jxc", *WEIGHTS, *out]
  assert main(decode) == 2 and not (tmp_path / "out" / "a.wav").exists()
  assert "a.wav: a wav file holds at most" in capsys.readouterr().err
  assert main([*decode, "--raw"]) == 0


def test_a_full_disk_is_named(tmp_path, monkeypatch, capsys):
  soundfile.write(tmp_path / "a.wav", noise(2000), RATE)
  out = ["--out", str(tmp_path / "out")]
  assert main(["encode", str(tmp_path / "a.wav"), *WEIGHTS, *out]) == 0

  def full(file, data):
    raise soundfile.LibsndfileError(2, "Error : ")

  monkeypatch.setattr(soundfile.SoundFile, "write", full)
  assert main(["decode", f"{tmp_path}/out/a.jxc", *WEIGHTS, *out]) == 2
  assert "out/a.wav: can't be written" in capsys.readouterr().err


@pytest.mark.parametrize(
  "rates", [(48_000, 44_100), (24_000, 44_100), (44_100, 16_000)]
)
def test_blocks_are_resampled_to_the_length_of_the_whole(rates):
  """Among the lengths are those of which soxr's own is one less."""
  for samples in (*range(238, 242), 120, 1999):
    audio = noise(samples, 1)
    blocks = iter([audio[:100], audio[100:]])
    joined = np.concatenate(list(streams._resampled(blocks, *rates)))
    whole = audio_files.resample(audio, *rates)
    assert len(joined) == len(whole) == audio_files.resampled_length(samples, *rates)


@pytest.mark.parametrize("entropy", [False, True])
def test_a_file_is_read_up_to_its_last_whole_record(tmp_path, monkeypatch, entropy):
  monkeypatch.setattr(contexts, "_MOST", 8)  # small tables, for time
  records = [np.random.default_rng(n).integers(0, V, (n, K)) for n in (3, 1, 7)]
  content = io.BytesIO()
  writer = Writer(content, HEADER, entropy=entropy)
  ends = []
  for codes_TxK in records:
    writer.write(codes_TxK)
    ends.append(content.tell())
  writer.end(21)
  whole, path = content.getvalue(), tmp_path / "a.jxc"
  codes = np.concatenate(records)
  for size in range(len(whole) + 1):
    path.write_bytes(whole[:size])
    frames = sum(len(r) for r, end in zip(records, ends, strict=True) if end <= size)
    if not frames:
      with pytest.raises(ValueError, match=r"a\.jxc: "):
        token_file.read(path)
      continue
    found, header = token_file.read(path), token_file.read_header(path)
    np.testing.assert_array_equal(found.codes[0], codes[:frames])
    complete = size == len(whole)
    assert header["complete"] == complete
    assert found.num_samples == [21 if complete else 2 * frames]
  reader = Reader()
  parts = [part for at in range(len(whole)) for part in reader.feed(whole[at : at + 1])]
  np.testing.assert_array_equal(np.concatenate(parts), codes)
  for at in range(len(whole)):
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
    with pytest.raises(ValueError, match=r"a\.jxc: "):
      token_file.read(path)
  path.write_bytes(whole + b"\0")
  with pytest.raises(ValueError, match="follows its end"):
    token_file.read(path)


@pytest.mark.parametrize(
  "command,content,expected",
  [
    (["encode", "-"], b"no sound" * 9, "standard input: is no wav file; --raw takes"),
    (["encode", "-"], wav(noise(9), subtype="PCM_24"), "16 or 32 bits, got format 1"),
    (["encode", "-"], wav(noise(0)), "standard input: has no samples"),
    (["encode", "-", "-"], b"", "--stream takes one file, or - for standard input"),
    (["encode", "-", "--block", "-1"], b"", "--block must be positive seconds"),
    (["decode", "-"], b"JXC\n\x01\0" + bytes(9), "is no token file of version 3 or 4"),
    (["decode", "-"], b"JXC\n\x03\0" + bytes(2), "it holds no whole record"),
  ],
)
def test_errors(monkeypatch, capsys, command, content, expected):
  monkeypatch.setattr(sys, "stdin", _Pipe(content))
  monkeypatch.setattr(sys, "stdout", _Pipe())
  assert main([*command, *WEIGHTS, "--out", "-"]) == 2
  assert expected in capsys.readouterr().err


@pytest.mark.parametrize("entropy", [[], ["--entropy"]])
def test_a_killed_process_leaves_its_blocks(tmp_path, entropy):
  command = ["encode", "-", "--stream", "--out", str(tmp_path), *entropy]
  program = (
    "import sys, api_helpers\n"
    "from jaxcodec import api\n"
    "from jaxcodec.cli.main import main\n"
    "api.load = lambda preset, weights: api_helpers.toy_model()\n"
    f"sys.exit(main({command!r}))\n"
  )
  here = str(pathlib.Path(__file__).parent)
  paths = os.pathsep.join([here, *filter(None, sys.path)])
  process = subprocess.Popen(
    [sys.executable, "-c", program],
    stdin=subprocess.PIPE,
    env={**os.environ, "PYTHONPATH": paths},
  )
  audio, path = noise(4 * RATE), tmp_path / "stdin.jxc"
  process.stdin.write(wav(audio)[: 44 + 7 * RATE])  # of the last second only a half
  process.stdin.flush()
  try:
    expected, deadline = 3 * RATE // 2 - 1, time.monotonic() + 120
    while time.monotonic() < deadline and _frames(path) < expected:
      assert process.poll() is None
      time.sleep(0.1)
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
  found = Tokens.load(path)
  original = soundfile.read(io.BytesIO(wav(audio)), dtype="float32")[0]
  whole = api_helpers.toy_model().encode(original).codes_BxTxK[:, :expected]
  np.testing.assert_array_equal(found.codes_BxTxK, whole)
  assert api_helpers.toy_model().decode(found).shape == (1, 2 * expected, 1)


def _frames(path):
  try:
    return len(token_file.read(path).codes[0])
  except (ValueError, FileNotFoundError):
    return 0
