"""Delays are found, told from none, and undone before audio is compared."""

import dataclasses

import numpy as np
import pytest
from evals_helpers import RATE, clip, voice
from scipy import signal

from jaxcodec.evals import opus
from jaxcodec.evals.audio import align, prepare_pair
from jaxcodec.evals.delay import Delay, find_delay
from jaxcodec.evals.evaluate import ground_truth, score_clip
from jaxcodec.evals.metrics.signal import SiSdr


def _shift(audio_N, delay):
  """Returns audio that is later by so many samples, as long as it was."""
  return np.concatenate([np.zeros(max(delay, 0), np.float32), audio_N])[
    max(-delay, 0) :
  ][: len(audio_N)]


def _without_phases(noise, seconds=2.0):
  """Returns bands of noise whose loudness moves alike whatever the noise is."""
  count, rng = int(seconds * RATE), np.random.default_rng(noise)
  levels = np.random.default_rng(0).uniform(-1.5, 1.5, (8, 2 + int(10 * seconds)))
  edges = np.linspace(100, 7900, 9)
  audio_N, at = np.zeros(count), np.linspace(0, levels.shape[1] - 1, count)
  for level, low, high in zip(levels, edges, edges[1:], strict=False):
    sos = signal.butter(4, (low, high), "band", fs=RATE, output="sos")
    gain_N = 10 ** np.interp(at, np.arange(len(level)), level)
    audio_N += gain_N * signal.sosfilt(sos, rng.standard_normal(count))
  return (0.05 * audio_N / audio_N.std()).astype(np.float32)


@pytest.fixture(scope="module")
def coded():
  """Speech-like audio, and what Opus made of it, whose bass has other phases."""
  audio_N = voice(0, 3.0)
  return audio_N, opus.through_opus(audio_N, RATE, 16_000).audio_N


@pytest.mark.parametrize("delay", [0, 5, -37, 800, -1599])
def test_a_delay_is_found_to_the_sample(coded, delay):
  original_N, opus_N = coded
  assert find_delay(original_N, _shift(opus_N, delay), RATE) == delay
  assert find_delay(original_N, -_shift(opus_N, delay), RATE) == delay


@pytest.mark.parametrize("delay", [0, 320, -480])
def test_the_delay_of_a_codec_with_phases_of_its_own(delay):
  original_N, other_N = _without_phases(1), _without_phases(2)
  assert abs(np.corrcoef(original_N, other_N)[0, 1]) < 0.05
  found = find_delay(original_N, _shift(other_N, delay), RATE)
  assert found == 0 if delay == 0 else abs(found - delay) <= 0.002 * RATE


@pytest.mark.parametrize(
  "audio_N",
  [
    voice(1, 3.0),
    np.zeros(RATE, np.float32),
    np.zeros(0, np.float32),
    np.full(RATE, np.nan, np.float32),
    _shift(voice(0, 3.0), 2400),  # 150 ms
  ],
  ids=["other", "silent", "empty", "nan", "beyond"],
)
def test_what_is_not_like_the_original_has_no_delay(audio_N):
  assert find_delay(voice(0, 3.0), audio_N, RATE) is None


@pytest.mark.parametrize("delay", [0, 3, -3])
@pytest.mark.parametrize("extra", [-5, 0, 5])
def test_what_has_no_counterpart_is_cut_off(delay, extra):
  """Audio of the original's length and `extra` samples, the original being a ramp."""
  reference_N = np.arange(20)
  audio_N = np.arange(20 + extra) - delay
  left_N, right_N = align(reference_N, audio_N, delay)
  length = min(len(left_N), len(right_N))
  np.testing.assert_array_equal(left_N[:length], right_N[:length])
  assert length >= 20 - 5 - 3
  assert abs(len(left_N) - len(right_N)) <= abs(extra)


def test_late_audio_is_compared_as_if_it_were_not(coded):
  original_N, opus_N = coded
  late = clip(reference=original_N, audio=_shift(opus_N, 400), delay=400)
  there = clip(reference=original_N[:-400], audio=opus_N[:-400])
  assert SiSdr().score(late) == SiSdr().score(there)
  assert SiSdr().score(dataclasses.replace(late, delay=0)).value < -10
  for one in prepare_pair(late, rate=RATE, min_seconds=0):
    assert len(one) == len(original_N) - 400


def test_the_delay_is_a_measure():
  row, _ = score_clip(clip(delay=80), [Delay()])
  assert row["delay_ms"] == 5.0
  row, _ = score_clip(clip(delay=None), [Delay(), SiSdr()])
  assert row["delay_ms"] is None and "measured as it is" in row["failed"]["delay_ms"]
  assert row["si_sdr"] == SiSdr().score(clip()).value
  assert ground_truth([clip(delay=80)])[0].delay == 0
