"""Small audio files and sources for the data tests."""

import numpy as np
import soundfile

from jaxcodec.data.source import Utterance

RATE = 16_000


def tone(seconds=0.5, rate=RATE, hz=220.0):
  """Returns a float32 sine of amplitude 0.5."""
  return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(
    np.float32
  )


def write_tone(path, *, rate=RATE, **kwargs):
  """Writes a tone in the format of the suffix, making its folder."""
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, tone(rate=rate, **kwargs), rate)
  return path


class RampSource:
  """Source whose sample n is n + 1, so that a crop shows where it starts."""

  skipped = []
  fingerprint = "ramp"

  def __init__(self, samples):
    self.samples = samples
    self.utterances = tuple(
      Utterance(f"u{i}", "speaker", None, n / RATE) for i, n in enumerate(samples)
    )

  def audio(self, index, sample_rate):
    assert sample_rate == RATE
    return (1 + np.arange(self.samples[index])).astype(np.float32)
