"""The measures of F0, on tones whose pitch is known."""

import numpy as np
import pytest
from evals_helpers import RATE, clip

from jaxcodec.evals.evaluate import load_metrics
from jaxcodec.evals.metric import MetricFailed
from jaxcodec.evals.registry import make_metrics

NAMES = ("f0_rmse_cents", "voicing_error", "f0_from_prompt_cents", "voiced_share")
NOISE = 0.05 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)


@pytest.fixture(scope="module")
def metrics():
  ready = load_metrics(make_metrics(NAMES))
  if ready.absent:
    pytest.skip(f"needs {ready.absent}")
  assert list(ready.models) == ["swift_f0"]
  return dict(zip(NAMES, ready.metrics, strict=True))


def tone(hz, seconds=2.0, rate=RATE):
  """Harmonics of a pitch that vibrates by half a semitone about `hz`."""
  t = np.arange(int(seconds * rate)) / rate
  turns = np.cumsum(hz * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 4 * t))) / rate
  x = sum(np.cos(2 * np.pi * k * turns + k * k) / k for k in range(1, 15))
  return (0.1 * x).astype(np.float32)


@pytest.mark.parametrize("rate", [RATE, 24_000])
@pytest.mark.parametrize("cents", [0, 50, 300])
def test_a_shift_of_the_pitch_is_its_error(metrics, rate, cents):
  reference, audio = tone(150, rate=rate), tone(150 * 2 ** (cents / 1200), rate=rate)
  one = clip(reference=reference, audio=audio, prompt=reference, sample_rate=rate)
  assert metrics["f0_rmse_cents"].score(one).value == pytest.approx(cents, abs=6)
  assert metrics["f0_from_prompt_cents"].score(one).value == pytest.approx(cents, abs=6)
  assert metrics["voicing_error"].score(one).value < 0.03
  assert metrics["voiced_share"].score(one).value > 0.97


def test_what_is_whispered_for_half_the_time(metrics):
  whole = tone(180)
  half = np.where(np.arange(2 * RATE) < RATE, whole, NOISE)
  one = clip(reference=whole, audio=half)
  assert metrics["voicing_error"].score(one).value == pytest.approx(0.5, abs=0.03)
  assert metrics["voiced_share"].score(one).value == pytest.approx(0.5, abs=0.03)
  assert metrics["f0_rmse_cents"].score(one).value < 25


def test_without_pitch_there_is_no_error_of_it(metrics):
  one = clip(reference=tone(180), audio=NOISE, prompt=tone(180))
  assert metrics["voicing_error"].score(one).value > 0.95
  for name, reason in (
    ("f0_rmse_cents", "no frame is voiced in both"),
    ("f0_from_prompt_cents", "no frame of the audio is voiced"),
  ):
    with pytest.raises(MetricFailed, match=reason):
      metrics[name].score(one)
