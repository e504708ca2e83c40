"""Speech that is heard while it is spoken: its blocks, what is kept, and errors."""

import io
import sys
import types

import numpy as np
import pytest
import soundfile
import speech_helpers
from speech_helpers import HOP, RATE, noise

from jaxcodec import api
from jaxcodec.cli.main import main
from jaxcodec.inference import slm
from jaxcodec.inference.stream_pieces import cut

pytest.importorskip("wetext")
SAID = dict(prompt=noise(0.6, seed=1), prompt_rate=RATE, prompt_text="Good day.")
LONG = "So it was a long way to go from there. No it was a long way to go from there."


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs")
  write, load = speech_helpers.write_run, api.load_slm
  return {kind: load(write(folder / kind, kind)) for kind in ("valle", "delay")}


@pytest.fixture(scope="module")
def speaker(speakers):
  return speakers["valle"]


@pytest.mark.parametrize("kind, same", [("valle", 1), ("delay", None)])
@pytest.mark.parametrize("text, given", [("So it is.", SAID), (LONG, {})])
def test_a_stream_says_what_the_whole_says(speakers, kind, same, text, given):
  """The audio is that of the codes; a long text has pieces.

  Of VALL-E's codes the first codebook is that of the whole, of the delay pattern all.
  """
  speaker = speakers[kind]
  options = dict(given, seed=3, min_frames=25)
  whole = speaker.speak(text, **options)
  stream = speaker.speak(text, **options, stream=True, block_seconds=0.06)
  with pytest.raises(ValueError, match="when all blocks of its stream are taken"):
    stream.speech  # noqa: B018
  blocks = list(stream)
  spoken = stream.speech
  codes, expected = (np.asarray(s.tokens.codes_BxTxK) for s in (spoken, whole))
  np.testing.assert_array_equal(codes[..., :same], expected[..., :same])
  assert (spoken.ended, spoken.problem) == (whole.ended, whole.problem)
  np.testing.assert_array_equal(np.concatenate(blocks), spoken.audio_N)
  decoded_1xNx1 = speaker.codec.decode(spoken.tokens)
  np.testing.assert_allclose(spoken.audio_N, decoded_1xNx1[0, :, 0], atol=1e-6)
  assert len(blocks) > 3 and stream.sample_rate == RATE
  assert next(stream, None) is None


def test_the_first_block_is_given_before_the_rest_is_spoken(speaker, monkeypatch):
  taken = []

  def count(*arguments, speak=slm.speak_in_blocks):
    for codes_TxK, ended in speak(*arguments):
      taken.append(len(codes_TxK))
      yield codes_TxK, ended

  monkeypatch.setattr(slm, "speak_in_blocks", count)
  stream = speaker.speak("So it is.", stream=True, min_frames=39, block_seconds=0.06)
  first = next(stream)
  assert len(taken) == 1 and len(first) == 6 * HOP
  assert taken[0] == 6 + speaker.codec.stream().decoder_lookahead // HOP < 35


def test_what_is_silent_and_what_cannot_be_streamed(speaker, monkeypatch):
  nothing = np.zeros((0, 2), np.int32)
  with monkeypatch.context() as patch:
    patch.setattr(slm, "speak_in_blocks", lambda *_: iter([(nothing, True)]))
    mute = speaker.speak("So it is.", stream=True)
    assert list(mute) == [] and mute.speech.problem.startswith("ended at once")
  for text, options, expected in (
    (["So."], {}, "text must be one string with stream=True"),
    ("So.", {"block_seconds": 0.0}, "block_seconds must be positive, got 0.0"),
    ("So.", {"prompt_text": "No."}, "prompt is missing"),
    ("So.", {"seed": -1}, "seed"),
  ):
    with pytest.raises(ValueError, match=expected):
      speaker.speak(text, stream=True, **options)
  monkeypatch.setattr(speaker, "_model", types.SimpleNamespace())
  with pytest.raises(ValueError, match="it has no streams"):
    speaker.speak("So.", stream=True)


def test_a_stream_that_broke_off_has_no_speech(speaker, monkeypatch):
  def break_off(*_):
    yield np.zeros((40, speech_helpers.K), np.int32), False
    raise KeyboardInterrupt

  monkeypatch.setattr(slm, "speak_in_blocks", break_off)
  stream = speaker.speak("So it is.", stream=True)
  for _ in range(2):
    with pytest.raises(KeyboardInterrupt):
      list(stream)
    with pytest.raises(ValueError, match="when all blocks of its stream are taken"):
      stream.speech  # noqa: B018


def test_a_command_speaks_to_standard_output(speaker, monkeypatch, capsys):
  out = io.BytesIO()
  monkeypatch.setattr(api, "load_slm", lambda weights, **_: speaker)
  monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=out))
  command = ["synthesize", "--weights", "run", "--text", "So it is.", "--stream"]
  assert main([*command, "--out", "-", "--seed", "3"]) == 0
  spoken = speaker.speak("So it is.", seed=3, stream=True)
  audio_N = np.concatenate(list(spoken))
  heard_N, rate = soundfile.read(io.BytesIO(out.getvalue()), dtype="float32")
  assert rate == RATE
  np.testing.assert_allclose(heard_N, np.clip(audio_N, -1, 1), atol=1e-4)
  assert main([*command, "--out", "a.wav"]) == 2
  assert "to standard output: --out -" in capsys.readouterr().err


def test_cut_gives_blocks_as_soon_as_they_are_there():
  came = []
  pieces = (came.append(n) or np.arange(n) for n in (1, 4, 0, 7))
  blocks = [(len(b), size, last, len(came)) for b, size, last in cut(pieces, 3, 4)]
  assert blocks == [
    (4, 4, False, 2),
    (3, 3, False, 4),
    (3, 3, False, 4),
    (2, 3, True, 4),
  ]
  assert list(cut([], 3)) == []
