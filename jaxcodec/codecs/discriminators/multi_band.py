"""Multi-band complex STFT discriminator, as DAC and Vocos have it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.codecs.discriminators.stack import (
  feature_maps,
  spectrogram_convs,
  spectrogram_score,
)
from jaxcodec.nn import dsp
from jaxcodec.nn.conv import Dtype

_BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


class BandStack(nn.Module):
  """The layers for one frequency band of a spectrogram."""

  width: int
  dtype: Dtype = jnp.float32

  def setup(self):
    self.layers = spectrogram_convs(self.width, dtype=self.dtype)

  def __call__(self, x_BxTxFxC) -> list[jax.Array]:
    return feature_maps(self.layers, x_BxTxFxC)


class MultiBandDiscriminator(nn.Module):
  """A stack for each band of the spectrogram of (B, N); maps are (B, T, F, C).

  Source: dac/model/discriminator.py, MRD; vocos/discriminators.py, DiscriminatorR.

  Attributes:
    n_fft: window length, samples; the hop is a quarter of it.
    width: channels; the originals have 32.
    center: whether to pad as torch.stft does (Vocos), or to N / hop frames (DAC).
    first_maps: whether to return the maps of the bands' first layers too.
    dtype: compute type.
  """

  n_fft: int
  width: int = 32
  center: bool = False
  first_maps: bool = True
  dtype: Dtype = jnp.float32

  def setup(self):
    bands = len(_BANDS) - 1
    self.band_convs = [BandStack(self.width, self.dtype) for _ in range(bands)]
    self.conv_post = spectrogram_score(self.dtype)

  def __call__(self, x_BxN) -> list[jax.Array]:
    spectrum = self._spectrogram(x_BxN)
    edges = [int(edge * spectrum.shape[2]) for edge in _BANDS]
    maps, tops = [], []
    for low, high, stack in zip(edges[:-1], edges[1:], self.band_convs, strict=True):
      of_band = stack(spectrum[:, :, low:high])
      maps += of_band[0 if self.first_maps else 1 :]
      tops.append(of_band[-1])
    return [*maps, self.conv_post(jnp.concatenate(tops, 2))]

  def _spectrogram(self, x_BxN):
    """Returns the STFT (B, T, F, 2), real and imaginary parts as channels."""
    hop = self.n_fft // 4
    if not self.center:
      around = (self.n_fft - hop) // 2
      pad = ((0, 0), (around, around + -x_BxN.shape[1] % hop))
      x_BxN = jnp.pad(x_BxN, pad, mode="reflect")
    parts = dsp.stft(x_BxN, n_fft=self.n_fft, hop=hop, center=self.center)
    return jnp.stack(parts, -1)
