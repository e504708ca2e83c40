"""By how much audio is later than its original: found and measured."""

import numpy as np
from scipy import fft, ndimage, signal

from jaxcodec.evals.metric import EvalClip, Metric, MetricFailed, Score

# Seconds to either side in which a delay is looked for.
MAX_DELAY_S = 0.1
_LONGEST_S = 60  # of the audio, from its beginning
# Below it speech codecs remove and turn the bass, which is no delay.
_LOWEST_HZ = 300
_SMOOTHING_HZ = 200
_RANGE_DB = 50  # below the loudest band's, a frequency is left out
# Of the waveforms: the least correlation, and how far it is above all others.
_LEAST_CORRELATION = 0.1
_AHEAD = 2.0
_PEAK_S = 0.001  # around the highest, which belongs to it
# Where they correlate less, coding alone moves the peak by a fraction of a millisecond.
_CLEAR, _FINE_S = 0.5, 0.00025
# Of the envelopes, for codecs that keep no phases.
_LEAST_LIKENESS = 0.5
_SHORTEST_S = 1.0
_STEP_S, _WINDOW_S = 0.001, 0.016
_BANDS = 16
_TOO_SMALL_S = 0.005  # for envelopes to tell from none


def find_delay(
  reference_N: np.ndarray, audio_N: np.ndarray, sample_rate: int
) -> int | None:
  """Finds the delay of coded audio, up to MAX_DELAY_S either way.

  The waveforms' cross-correlation gives it to a sample: all frequencies count alike
  (see Knapp and Carter 1976, "The generalized correlation method for estimation of time
  delay"), as low ones would draw a peak of many samples. It is believed where it stands
  out. Otherwise, as of a codec that makes its own phases, the bands' envelopes are
  compared; they tell milliseconds, and shorter delays than _TOO_SMALL_S count as none.

  Args:
    reference_N: the original, float.
    audio_N: the same as a codec gave it back, float; of any length.
    sample_rate: of both, Hz.

  Returns:
    How many samples the audio is late, negative if it is early; None if it isn't like
    the original at any delay that is looked for.
  """
  most = _LONGEST_S * sample_rate
  signals = (reference_N[:most], audio_N[:most])
  if not all(np.all(np.isfinite(x)) and np.any(x) for x in signals):
    return None
  found = _by_waveform(*signals, sample_rate)
  return _by_envelopes(*signals, sample_rate) if found is None else found


class Delay(Metric):
  """The delay of clips in which it was looked for."""

  name = "delay_ms"
  unit = "ms"
  measures = (
    "How much later than the original the audio was, at most"
    f" {1000 * MAX_DELAY_S:.0f} ms either way. Measures that compare with the original"
    " are of audio moved by it."
  )

  def score(self, clip: EvalClip) -> Score:
    if clip.delay is None:
      raise MetricFailed(
        "the audio is not like its original at any delay up to"
        f" {1000 * MAX_DELAY_S:.0f} ms; it is measured as it is"
      )
    return Score(1000 * clip.delay / clip.sample_rate)


def _by_waveform(reference_N, audio_N, sample_rate):
  lags = int(MAX_DELAY_S * sample_rate)
  longest = max(len(reference_N), len(audio_N), lags + 1)
  count = fft.next_fast_len(longest + lags, real=True)
  reference_F = fft.rfft(reference_N.astype(np.float64), count)
  audio_F = fft.rfft(audio_N.astype(np.float64), count)
  bins_per_hz = count / sample_rate
  reference_F, power_F = _whitened(reference_F, bins_per_hz)
  used_F = power_F > power_F.max() * 10 ** (-_RANGE_DB / 10)
  used_F[: int(_LOWEST_HZ * bins_per_hz)] = False
  audio_F = _whitened(audio_F, bins_per_hz)[0] * used_F
  reference_F = reference_F * used_F
  # A turned sign is no delay, so the correlation's size counts.
  across = np.abs(fft.irfft(np.conj(reference_F) * audio_F, count)) * count / 2
  across = np.concatenate([across[-lags:], across[: lags + 1]])
  across /= np.linalg.norm(reference_F) * np.linalg.norm(audio_F) + 1e-30
  best, near = int(np.argmax(across)), int(_PEAK_S * sample_rate)
  others = np.concatenate([across[: max(0, best - near)], across[best + near + 1 :]])
  if across[best] < max(_LEAST_CORRELATION, _AHEAD * others.max()):
    return None
  delay = best - lags
  small = abs(delay) < _FINE_S * sample_rate
  return 0 if small and across[best] < _CLEAR else delay


def _whitened(spectrum_F, bins_per_hz):
  """Returns a spectrum over its mean size near each frequency, and the mean power."""
  width = max(1, int(_SMOOTHING_HZ * bins_per_hz))
  power_F = ndimage.uniform_filter1d(np.abs(spectrum_F) ** 2, width)
  return spectrum_F / np.sqrt(np.maximum(power_F, 1e-20)), power_F


def _by_envelopes(reference_N, audio_N, sample_rate):
  if min(len(reference_N), len(audio_N)) < _SHORTEST_S * sample_rate:
    return None
  step, lags = round(_STEP_S * sample_rate), round(MAX_DELAY_S / _STEP_S)
  reference_BxT = _envelopes(reference_N, sample_rate, step)
  audio_BxT = _envelopes(audio_N, sample_rate, step)
  longest = max(reference_BxT.shape[1], audio_BxT.shape[1], lags + 1)
  count = fft.next_fast_len(longest + lags, real=True)
  cross_F = np.conj(fft.rfft(reference_BxT, count)) * fft.rfft(audio_BxT, count)
  across = fft.irfft(cross_F.sum(0), count)
  across = np.concatenate([across[-lags:], across[: lags + 1]])
  across /= np.linalg.norm(reference_BxT) * np.linalg.norm(audio_BxT) + 1e-30
  best = int(np.argmax(across))
  # At an end of what was looked through, it may be beyond.
  if across[best] < _LEAST_LIKENESS or best in (0, 2 * lags):
    return None
  delay = (best - lags) * step
  return delay if abs(delay) >= _TOO_SMALL_S * sample_rate else 0


def _envelopes(signal_N, sample_rate, step):
  """Returns the log magnitudes of bands less their means, (B, T) of B bands."""
  length = round(_WINDOW_S * sample_rate)
  *_, spectrum_FxT = signal.stft(signal_N, nperseg=length, noverlap=length - step)
  bands = np.array_split(np.abs(spectrum_FxT[1:]), min(_BANDS, length // 2))
  level_BxT = np.stack([band.mean(0) for band in bands])
  level_BxT = np.log(level_BxT + 1e-4 * level_BxT.max())
  return level_BxT - level_BxT.mean(1, keepdims=True)
