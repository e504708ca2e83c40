"""`--realtime`: what comes live is given on at once; whether that kept up is told."""

import io
import os
import re
import sys
import threading
import time

import api_helpers
import numpy as np
import pytest
from api_helpers import RATE

from jaxcodec import api
from jaxcodec.cli import live
from jaxcodec.cli.main import main
from jaxcodec.codecs import streaming
from jaxcodec.data.audio import pcm
from jaxcodec.inference import stream_pieces
from jaxcodec.types import Tokens

SECONDS, PIECE = 1.0, 0.02  # of audio, and how much comes at a time
OPTIONS = ["--weights", "toy", "--stream", "--raw", "--out", "-"]


@pytest.fixture(scope="module", autouse=True)
def _toy():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(api, "load", lambda preset, weights: api_helpers.toy_model())
    yield


class _End:
  """Stands for stdin or stdout."""

  def __init__(self, file):
    self.buffer = file
    self.write, self.flush = lambda text: None, lambda: None


class _Out(io.BytesIO):
  """Keeps when it was flushed, and how much had been written by then."""

  def __init__(self):
    super().__init__()
    self.flushed = []

  def flush(self):
    if not self.closed:
      self.flushed.append((time.monotonic(), self.tell()))


def _live(monkeypatch, pieces, *command):
  """Runs a command whose input comes in real time, once it has said that it is ready.

  Returns what it writes, and how many bytes of that were there before the input's end.
  """
  reading, writing = os.pipe()
  is_ready, ended = threading.Event(), []
  monkeypatch.setattr(live.Meter, "ready", lambda *_: is_ready.set())

  def feed():
    with os.fdopen(writing, "wb", buffering=0) as pipe:
      pipe.write(pieces[0])
      assert is_ready.wait(60)
      start = time.monotonic()
      for number, piece in enumerate(pieces[1:]):
        time.sleep(max(0.0, start + number * PIECE - time.monotonic()))
        pipe.write(piece)
      ended.append(time.monotonic())

  out = _Out()
  with os.fdopen(reading, "rb") as given:
    monkeypatch.setattr(sys, "stdin", _End(given))
    monkeypatch.setattr(sys, "stdout", _End(out))
    thread = threading.Thread(target=feed)
    thread.start()
    assert main([*command, "-", *OPTIONS, "--realtime"]) == 0
    thread.join()
  before = max(size for at, size in out.flushed if at < ended[0])
  return out.getvalue(), before


def test_a_microphone_is_coded_while_it_is_heard(monkeypatch, tmp_path, capsys):
  size = round(PIECE * RATE)
  audio_N = 0.1 * np.random.default_rng(0).standard_normal(round(SECONDS * RATE))
  samples_N = (audio_N * 2**15).astype(pcm.RAW)
  pieces = [part.tobytes() for part in np.split(samples_N, len(samples_N) // size)]
  block = ("--block", str(PIECE))
  tokens, before = _live(monkeypatch, pieces, "encode", *block)
  assert before > len(tokens) / 2
  (tmp_path / "a.jxc").write_bytes(tokens)
  model = api_helpers.toy_model()
  whole = model.encode(samples_N.astype(np.float32) / 2**15)
  found = Tokens.load(tmp_path / "a.jxc")
  np.testing.assert_array_equal(found.codes_BxTxK, whole.codes_BxTxK)
  assert found.origin.num_samples_B.tolist() == [len(samples_N)]
  header = 300  # bytes, and some more
  cuts = [0, *np.linspace(header, len(tokens), len(pieces)).astype(int)]
  pieces = [tokens[a:b] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
  heard, before = _live(monkeypatch, pieces, "decode", *block)
  assert before > len(heard) / 2
  expected = np.clip(model.decode(whole)[0, :, 0], -1, 32767 / 32768)
  decoded = np.frombuffer(heard, pcm.RAW) / 2**15
  np.testing.assert_allclose(decoded, expected, rtol=0, atol=2e-5)
  told = capsys.readouterr().err
  for command in ("encode", "decode"):
    report = rf"{command}: (\d\.\d\d) s at a real-time factor of (\d+\.\d\d); slowest"
    seconds, factor = re.search(report, told).groups()
    assert float(seconds) == SECONDS
    assert ("warning: cannot keep up" in told) == (float(factor) > 1)


def test_blocks_are_short_and_nothing_is_compiled_while_they_come(monkeypatch):
  model, traced = api_helpers.toy_model(), []

  def counted(half, code):
    def count(*arguments, **options):
      traced.append(half)
      return code(*arguments, **options)

    return count

  for half in ("encode", "decode"):
    monkeypatch.setattr(streaming, half, counted(half, getattr(streaming, half)))
  stream = model.stream()
  stream_pieces.prepare_encode(stream, 4)
  stream_pieces.prepare_decode(stream, 4)
  known = len(traced)
  audio_NxC = np.random.default_rng(0).standard_normal((101, 1)).astype(np.float32)
  codes = list(stream_pieces.encode_pieces(stream, np.split(audio_NxC, [3, 70]), 4))
  list(stream_pieces.decode_pieces(stream, codes, 4))
  assert len(traced) == known > 4


def test_the_meter_adds_what_is_late(monkeypatch, capsys):
  """Pieces of 0.5 s whose work takes 0.4, 1.3, 0.1, 1.4 and 0.5 s."""
  now = [0.0]
  monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
  meter, waits = live.Meter("encode"), iter([9.0, 0.5, 0.0, 0.0, 0.0])
  meter.ready(0.5)

  def pieces():
    for wait in waits:
      now[0] += wait
      yield np.zeros(4)

  work = iter([0.4, 1.3, 0.1, 1.4, 0.5])
  for _ in meter.watched(pieces(), 8):
    now[0] += next(work)
  meter.report()
  assert meter.seconds == 2.5 and meter.factor == pytest.approx(3.7 / 2.5)
  assert meter.slowest == pytest.approx(1.4)
  assert meter.behind == pytest.approx(0.8 - 0.4 + 0.9)
  ready, *told = capsys.readouterr().err.splitlines()
  assert ready == "jaxcodec encode: ready for blocks of 500.0 ms"
  assert told[0] == "jaxcodec encode: warning: 1.3 s behind what comes"
  assert "2.50 s at a real-time factor of 1.48; slowest block 1400.0 ms" in told[1]
  assert told[1].endswith("at most 1300 ms behind") and "cannot keep up" in told[2]
  assert len(told) == 3


def test_realtime_wants_a_stream(capsys):
  assert main(["encode", "a.wav", "--out", "-", "--realtime"]) == 2
  assert "--realtime is for --stream alone" in capsys.readouterr().err
