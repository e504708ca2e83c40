"""Metrics of the fundamental frequency (F0): of its errors, and of what has one."""

import functools
from typing import NamedTuple

import numpy as np

from jaxcodec import files
from jaxcodec.evals.audio import prepare, prepare_pair
from jaxcodec.evals.metric import EvalClip, Metric, MetricFailed, Score
from jaxcodec.evals.models import choose

_RATE = 16_000
_RANGE_HZ = dict(fmin=50.0, fmax=550.0)  # of speech
_VOICED = 0.5  # the network's confidence from which a frame is voiced
_SECONDS = 0.25  # of the shortest clip


class Pitch(NamedTuple):
  """F0 in Hz of each frame of 16 ms, and whether the frame is voiced, both (T,)."""

  hz_T: np.ndarray
  voiced_T: np.ndarray


class PitchMetric(Metric):
  """A metric of F0 by the network in the `swift-f0` package.

  Source: Nieradzik 2025, "SwiftF0", arXiv 2508.18440.
  """

  packages = ("swift-f0>=0.3,<0.4",)

  def __init__(self, *, threads: int = 1):
    self._threads = threads

  @classmethod
  def make(cls, settings):
    return cls(threads=settings.threads)

  def load(self):
    self.require("swift_f0")
    path = choose.package_file("swift_f0", "model.onnx", self.requirement)
    _detector(self._threads)
    return {"swift_f0": files.sha256(path)}

  def track(self, audio_N: np.ndarray) -> Pitch:
    """Returns the pitch of audio at 16 kHz."""
    return _track(audio_N.tobytes(), self._threads)

  def pair(self, clip: EvalClip) -> tuple[Pitch, Pitch]:
    """Returns the pitch of a clip's reference and that of its audio."""
    reference, audio = map(
      self.track, prepare_pair(clip, rate=_RATE, min_seconds=_SECONDS)
    )
    return reference, audio


class F0Error(PitchMetric):
  name = "f0_rmse_cents"
  unit = "cents"
  better = "lower"
  measures = (
    "Root mean square difference of F0 and the original's, over frames that are voiced"
    " in both; an octave is 1200 cents."
  )
  needs = ("reference",)

  def score(self, clip: EvalClip) -> Score:
    reference, audio = self.pair(clip)
    both_T = reference.voiced_T & audio.voiced_T
    if not both_T.any():
      raise MetricFailed("no frame is voiced in both the original and the audio")
    cents = 1200 * np.log2(audio.hz_T[both_T] / reference.hz_T[both_T])
    return Score(float(np.sqrt(np.mean(cents**2))))


class VoicingError(PitchMetric):
  name = "voicing_error"
  better = "lower"
  measures = (
    "Share of frames that are voiced in the original or in the audio but not in both,"
    " among all frames."
  )
  needs = ("reference",)

  def score(self, clip: EvalClip) -> Score:
    reference, audio = self.pair(clip)
    return Score(float(np.mean(reference.voiced_T != audio.voiced_T)))


class F0FromPrompt(PitchMetric):
  name = "f0_from_prompt_cents"
  unit = "cents"
  better = "lower"
  measures = (
    "Distance of the audio's median F0 from its prompt's, over voiced frames; that of"
    " the originals is what a voice varies by."
  )
  needs = ("prompt",)

  def score(self, clip: EvalClip) -> Score:
    medians = []
    for name, signal in (("audio", clip.audio), ("prompt", clip.prompt)):
      audio_N = prepare(signal, clip, name, rate=_RATE, min_seconds=_SECONDS)
      pitch = self.track(audio_N)
      if not pitch.voiced_T.any():
        raise MetricFailed(f"no frame of the {name} is voiced")
      medians.append(np.median(pitch.hz_T[pitch.voiced_T]))
    return Score(float(abs(1200 * np.log2(medians[0] / medians[1]))))


class VoicedShare(PitchMetric):
  """Tells whispered speech, which has no pitch, from the originals."""

  name = "voiced_share"
  measures = "Share of frames that are voiced; to compare with that of the originals."

  def score(self, clip: EvalClip) -> Score:
    audio_N = prepare(clip.audio, clip, "audio", rate=_RATE, min_seconds=_SECONDS)
    return Score(float(np.mean(self.track(audio_N).voiced_T)))


@functools.lru_cache(maxsize=1)
def _detector(threads):
  import swift_f0

  return swift_f0.SwiftF0(threads=threads, spin=False)


@functools.lru_cache(maxsize=4)
def _track(content: bytes, threads: int) -> Pitch:
  """Keeps the last few results, as several metrics ask for those of a clip."""
  audio_N = np.frombuffer(content, np.float32)
  found = _detector(threads).detect(audio_N, _RATE, **_RANGE_HZ)
  return Pitch(found.pitch_hz, found.confidence >= _VOICED)
