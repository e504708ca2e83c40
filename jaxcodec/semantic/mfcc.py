"""Mel-frequency cepstra on the codec's frames, normalised within each utterance."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.nn import dsp

# Below 16-bit quantisation noise.
_MEL_FLOOR = 1e-5
_WINDOW_SECONDS = 0.025
_SPEECH_HZ = 8000.0
# A delta is the slope of a line fitted to this many frames on either side.
_DELTA_REACH = 2


def dct_matrix(size: int, num: int) -> np.ndarray:
  """First `num` columns of the orthonormal DCT-II, (size, num) float32."""
  angle = np.pi / size * np.outer(np.arange(size) + 0.5, np.arange(num))
  scale = np.where(np.arange(num) == 0, 1, np.sqrt(2)) / np.sqrt(size)
  return (np.cos(angle) * scale[None]).astype(np.float32)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Mfcc:
  """Cepstra and their slopes, one vector a codec frame.

  Mean and variance are normalised over each utterance: a voice and a microphone colour
  all frames alike, which in the logarithm is an offset and so goes away with the mean,
  while what is said, the change from frame to frame, stays.

  Attributes:
    sample_rate: Hz.
    hop: samples a frame; the codec's.
    num_coefs: cepstral coefficients; features are twice as many, with the slopes.
    num_mels: mel filters.
  """

  sample_rate: int
  hop: int
  num_coefs: int = 13
  num_mels: int = 40

  def __post_init__(self):
    if not 0 < self.num_coefs <= self.num_mels:
      raise ValueError(
        f"num_coefs must be in 1..num_mels ({self.num_mels}), got {self.num_coefs}"
      )

  @property
  def width(self) -> int:
    """Features a frame."""
    return 2 * self.num_coefs

  @property
  def config(self) -> dict[str, Any]:
    """What decides the features, as plain data."""
    return dataclasses.asdict(self)

  def __call__(self, audio_BxN: jax.Array, length_B: jax.Array) -> jax.Array:
    """Features, (B, ceil(N / hop), 2 * num_coefs) float32.

    Frame t is centred on samples t * hop to (t + 1) * hop, with zeros around the
    utterance. Frames past ceil(length / hop) are 0.

    Args:
      audio_BxN: audio at `sample_rate`; what lies past a row's length is ignored.
      length_B: valid samples of each row.
    """
    valid_BxN = jnp.arange(audio_BxN.shape[1])[None] < length_B[:, None]
    cepstra = self.cepstra(jnp.where(valid_BxN, audio_BxN, 0))
    frames_B = -(-length_B // self.hop)
    features = jnp.concatenate([cepstra, _slopes(cepstra, frames_B)], axis=-1)
    return _normalised(features, frames_B)

  def cepstra(self, audio_BxN: jax.Array) -> jax.Array:
    """Unnormalised coefficients, (B, ceil(N / hop), num_coefs) float32."""
    window = max(round(self.sample_rate * _WINDOW_SECONDS), self.hop)
    frames = -(-audio_BxN.shape[1] // self.hop)
    before = (window - self.hop) // 2
    after = (frames - 1) * self.hop + window - before - audio_BxN.shape[1]
    mel_BxTxM = dsp.mel_spectrogram(
      jnp.pad(audio_BxN, ((0, 0), (before, after))),
      sample_rate=self.sample_rate,
      n_fft=window,
      hop=self.hop,
      n_mels=self.num_mels,
      f_max=min(_SPEECH_HZ, self.sample_rate / 2),
      center=False,
    )
    log_mel = jnp.log(jnp.maximum(mel_BxTxM, _MEL_FLOOR))
    return dsp.matmul(log_mel, dct_matrix(self.num_mels, self.num_coefs))


def _slopes(x_BxTxD, frames_B):
  """Regression slopes; an utterance's first and last frames go on beyond its ends."""
  last_Bx1 = jnp.maximum(frames_B - 1, 0)[:, None]
  at_1xT = jnp.arange(x_BxTxD.shape[1])[None]

  def shifted(by):
    at_BxT = jnp.clip(at_1xT + by, 0, last_Bx1)
    return jnp.take_along_axis(x_BxTxD, at_BxT[:, :, None], axis=1)

  reach = range(1, _DELTA_REACH + 1)
  total = sum(by * (shifted(by) - shifted(-by)) for by in reach)
  return total / (2 * sum(by * by for by in reach))


def _normalised(x_BxTxD, frames_B):
  """Mean 0 and variance 1 over the valid frames of each row, 0 on the others."""
  valid = (jnp.arange(x_BxTxD.shape[1])[None] < frames_B[:, None])[:, :, None]
  count = jnp.maximum(frames_B, 1)[:, None, None]
  mean = jnp.where(valid, x_BxTxD, 0).sum(1, keepdims=True) / count
  centred = jnp.where(valid, x_BxTxD - mean, 0)
  variance = (centred * centred).sum(1, keepdims=True) / count
  return centred * jax.lax.rsqrt(variance + 1e-6)
