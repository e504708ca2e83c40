"""Prepares audio for metrics: checked, at their rate, as long as its reference."""

import numpy as np
import soxr

from jaxcodec.evals.metric import EvalClip, MetricFailed, NothingHeard

# A codec pads to whole frames, so lengths may differ by a frame of at most 50 ms.
MAX_LENGTH_DIFFERENCE_S = 0.05
SILENCE_DBFS = -70.0


def prepare(
  signal: np.ndarray | None, clip: EvalClip, name: str, *, rate: int, min_seconds: float
) -> np.ndarray:
  """Checks one of a clip's signals and resamples it.

  Values beyond +-1 are clipped, as they would be in a sound file.

  Args:
    signal: (N,) float audio at clip.sample_rate.
    clip: the clip that it belongs to.
    name: of the signal, for errors.
    rate: the metric's sample rate, Hz.
    min_seconds: the shortest signal that the metric is defined on.

  Returns:
    (N,) float32 at `rate`.

  Raises:
    NothingHeard: the signal is too short, or silent.
    MetricFailed: it is absent, not mono, or not finite.
  """
  if signal is None:
    raise MetricFailed(f"no {name} for this utterance")
  signal = np.asarray(signal)
  if signal.ndim != 1 or signal.dtype.kind != "f":
    raise MetricFailed(
      f"{name} must be mono floating point audio, got {signal.dtype} {signal.shape}"
    )
  if not np.all(np.isfinite(signal)):
    raise MetricFailed(f"{name} holds NaN or infinity")
  seconds = len(signal) / clip.sample_rate
  if seconds < min_seconds:
    raise NothingHeard(f"{name} too short: {seconds:.2f} s, needs {min_seconds:.2f} s")
  if loudness_dbfs(signal) < SILENCE_DBFS:
    raise NothingHeard(f"{name} is silent (below {SILENCE_DBFS:.0f} dBFS)")
  return resample(np.clip(signal, -1, 1), clip.sample_rate, rate)


def prepare_pair(
  clip: EvalClip, *, rate: int, min_seconds: float
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a clip's reference and audio, checked, resampled, and of equal length.

  A delay of the audio is undone first. If their lengths then differ by
  MAX_LENGTH_DIFFERENCE_S at most, the longer one is cut.

  Raises:
    MetricFailed: see `prepare`; or the lengths differ by more.
  """
  reference, audio = clip.reference, clip.audio
  if clip.delay and reference is not None:
    reference, audio = align(reference, audio, clip.delay)
  reference = prepare(reference, clip, "reference", rate=rate, min_seconds=min_seconds)
  audio = prepare(audio, clip, "audio", rate=rate, min_seconds=min_seconds)
  difference = abs(len(reference) - len(audio)) / rate
  if difference > MAX_LENGTH_DIFFERENCE_S:
    raise MetricFailed(
      f"reference and audio differ by {difference:.2f} s in length, more than "
      f"{MAX_LENGTH_DIFFERENCE_S} s"
    )
  length = min(len(reference), len(audio))
  return reference[:length], audio[:length]


def align(
  reference_N: np.ndarray, audio_N: np.ndarray, delay: int
) -> tuple[np.ndarray, np.ndarray]:
  """Cuts off what has no counterpart where audio is `delay` samples late, or early.

  By what else their lengths differ, they still do; without a delay they don't change.
  """
  if delay < 0:
    audio_N, reference_N = align(audio_N, reference_N, -delay)
    return reference_N, audio_N
  audio_N = audio_N[delay:]
  return reference_N[: max(len(audio_N), len(reference_N) - delay)], audio_N


def resample(signal: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
  """Returns a signal at `to_rate` Hz, float32 in [-1, 1]."""
  signal = signal.astype(np.float32)
  if from_rate == to_rate:
    return signal
  return np.clip(soxr.resample(signal, from_rate, to_rate, quality="VHQ"), -1, 1)


def loudness_dbfs(signal: np.ndarray) -> float:
  """Returns the signal's root mean square in dB relative to full scale."""
  power = np.mean(np.square(signal, dtype=np.float64)) if len(signal) else 0.0
  return float(10 * np.log10(max(power, 1e-30)))
