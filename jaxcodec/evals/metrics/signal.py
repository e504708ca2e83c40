"""Metrics that compare a reconstruction with its time-aligned original."""

import warnings

import numpy as np

from jaxcodec.evals.audio import prepare_pair
from jaxcodec.evals.metric import EvalClip, Metric, MetricFailed, Score
from jaxcodec.evals.metrics.spectrum import log_mel


class PesqWb(Metric):
  """Wideband PESQ (ITU-T P.862.2) by the `pesq` package, at 16 kHz."""

  name = "pesq_wb"
  unit = "MOS-LQO"
  better = "higher"
  measures = "Wideband PESQ (ITU-T P.862.2) against the original, 1.04 to 4.64."
  packages = ("pesq>=0.0.4",)
  needs = ("reference",)

  def load(self):
    (self._pesq,) = self.require("pesq")
    return {}

  def score(self, clip: EvalClip) -> Score:
    reference, audio = prepare_pair(clip, rate=16_000, min_seconds=0.25)
    return Score(float(self._pesq.pesq(16_000, reference, audio, "wb")))


class Stoi(Metric):
  """Short-time objective intelligibility by `pystoi`, which works at 10 kHz."""

  name = "stoi"
  better = "higher"
  measures = "Short-time objective intelligibility against the original, up to 1."
  packages = ("pystoi>=0.4",)
  needs = ("reference",)

  def load(self):
    (self._pystoi,) = self.require("pystoi")
    return {}

  def score(self, clip: EvalClip) -> Score:
    reference, audio = prepare_pair(clip, rate=16_000, min_seconds=0.4)
    with warnings.catch_warnings():
      # Where too few frames hold speech, pystoi returns 1e-5 and warns.
      warnings.simplefilter("error")
      try:
        return Score(float(self._pystoi.stoi(reference, audio, 16_000)))
      except RuntimeWarning as warning:
        raise MetricFailed(str(warning)) from warning


class SiSdr(Metric):
  """Scale-invariant signal-to-distortion ratio of the zero-mean signals.

  Source: Le Roux et al. 2019, "SDR - half-baked or well done?", equation 3.
  """

  name = "si_sdr"
  unit = "dB"
  better = "higher"
  measures = "Scale-invariant signal-to-distortion ratio at the audio's own rate."
  needs = ("reference",)

  def score(self, clip: EvalClip) -> Score:
    reference, audio = prepare_pair(clip, rate=clip.sample_rate, min_seconds=0.05)
    reference = reference.astype(np.float64) - reference.mean(dtype=np.float64)
    audio = audio.astype(np.float64) - audio.mean(dtype=np.float64)
    target = reference * (audio @ reference / (reference @ reference))
    noise = audio - target
    with np.errstate(divide="ignore"):
      return Score(float(10 * np.log10((target @ target) / (noise @ noise))))


class MelDistance(Metric):
  """Mean absolute difference of two log-mel spectrograms; see `spectrum.log_mel`."""

  name = "mel_distance"
  unit = "log10"
  better = "lower"
  measures = (
    "Mean absolute difference of 80-band log10 mel magnitudes (1024-sample Hann"
    " window, hop 256, 0 Hz to half the rate, floor 1e-5) at the audio's own rate."
  )
  packages = ("librosa>=0.11,<2",)
  needs = ("reference",)

  def load(self):
    self.require("librosa")
    return {}

  def score(self, clip: EvalClip) -> Score:
    reference, audio = prepare_pair(clip, rate=clip.sample_rate, min_seconds=0.05)
    mels = [log_mel(x, clip.sample_rate) for x in (reference, audio)]
    return Score(float(np.mean(np.abs(mels[0] - mels[1]))))
