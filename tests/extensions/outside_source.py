"""A data source from outside: noise whose loudness changes, and texts of its own."""

import numpy as np

from jaxcodec.data.source import SOURCES, Utterance


class Noise:
  """Recordings of a second; see `data.source.Source`."""

  def __init__(self, count, fingerprint):
    texts = ("one", "two", "three", "four", "five")
    self.utterances = tuple(
      Utterance(f"u{i}", "nobody", f"{texts[i % 5]} {texts[i // 5]}", 1.2)
      for i in range(count)
    )
    self.skipped, self.fingerprint = [], fingerprint

  def audio(self, index, sample_rate):
    rng = np.random.default_rng(index)
    size = round(1.2 * sample_rate)
    loudness_N = np.repeat(rng.uniform(0.01, 0.3, 20), -(-size // 20))[:size]
    return (loudness_N * rng.standard_normal(size)).clip(-1, 1).astype(np.float32)


def open_noise(path, *, sample_rate, on_error, count: int = 10):
  """Opens `count` recordings; nothing is read from `path`."""
  return Noise(count, f"noise-{count}")


SOURCES.register("noise", open_noise)
