"""DAC's discriminators. Source: dac/model/discriminator.py.

Each sub-discriminator maps audio (B, N) to its feature maps, the last of which is the
score. Channels are a multiple of `width`, so that small models keep the shape.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import dsp
from jaxcodec.nn.conv import Conv1d, Conv2d, Dtype

_BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


def _leaky(x):
  return nn.leaky_relu(x, 0.1)


class PeriodDiscriminator(nn.Module):
  """Multi-period discriminator: every period-th sample is one sequence.

  Attributes:
    period: samples.
    width: channels of the first convolution; the original has 32.
  """

  period: int
  width: int = 32
  dtype: Dtype = jnp.float32

  def setup(self):
    w = self.width
    features = (w, 4 * w, 16 * w, 32 * w, 32 * w)
    strides = (3, 3, 3, 3, 1)
    self.convs = [
      Conv1d(f, 5, stride=s, padding=2, dtype=self.dtype)
      for f, s in zip(features, strides, strict=True)
    ]
    self.conv_post = Conv1d(1, 3, dtype=self.dtype)

  def __call__(self, x_BxN) -> list[jax.Array]:
    B, N = x_BxN.shape
    missing = self.period - N % self.period  # a whole period where it divides
    x = jnp.pad(x_BxN, ((0, 0), (0, missing)), mode="reflect")
    x = x.reshape(B, -1, self.period).swapaxes(1, 2).reshape(B * self.period, -1, 1)
    maps = []
    for conv in self.convs:
      x = _leaky(conv(x))
      maps.append(x)
    return [*maps, self.conv_post(x)]


class BandDiscriminator(nn.Module):
  """The five-layer stack for one frequency band of a spectrogram."""

  width: int
  dtype: Dtype = jnp.float32

  def setup(self):
    wide = dict(kernel_size=(3, 9), padding=(1, 4), dtype=self.dtype)
    strided = [Conv2d(self.width, strides=(1, 2), **wide) for _ in range(3)]
    last = Conv2d(self.width, (3, 3), padding=(1, 1), dtype=self.dtype)
    self.layers = [Conv2d(self.width, **wide), *strided, last]

  def __call__(self, x_BxTxFxC) -> list[jax.Array]:
    maps = []
    for layer in self.layers:
      x_BxTxFxC = _leaky(layer(x_BxTxFxC))
      maps.append(x_BxTxFxC)
    return maps


class SpectrogramDiscriminator(nn.Module):
  """Multi-band complex STFT discriminator at one resolution.

  Attributes:
    n_fft: window length, samples; the hop is a quarter of it.
    width: channels; the original has 32.
  """

  n_fft: int
  width: int = 32
  dtype: Dtype = jnp.float32

  def setup(self):
    bands = len(_BANDS) - 1
    self.band_convs = [BandDiscriminator(self.width, self.dtype) for _ in range(bands)]
    self.conv_post = Conv2d(1, (3, 3), padding=(1, 1), dtype=self.dtype)

  def __call__(self, x_BxN) -> list[jax.Array]:
    spectrum = self._spectrogram(x_BxN)
    edges = [int(edge * spectrum.shape[2]) for edge in _BANDS]
    maps, tops = [], []
    for low, high, stack in zip(edges[:-1], edges[1:], self.band_convs, strict=True):
      of_band = stack(spectrum[:, :, low:high])
      maps += of_band
      tops.append(of_band[-1])
    return [*maps, self.conv_post(jnp.concatenate(tops, 2))]

  def _spectrogram(self, x_BxN):
    """Real and imaginary parts as channels, exactly N / hop frames."""
    hop = self.n_fft // 4
    around = (self.n_fft - hop) // 2
    missing = -x_BxN.shape[1] % hop
    pad = ((0, 0), (around, around + missing))
    x_BxN = jnp.pad(x_BxN, pad, mode="reflect")
    return jnp.stack(dsp.stft(x_BxN, n_fft=self.n_fft, hop=hop, center=False), -1)


class DacDiscriminator(nn.Module):
  """DAC's ensemble: five periods and three resolutions.

  Attributes:
    periods: samples, of the multi-period discriminators.
    n_ffts: samples, of the multi-band STFT discriminators.
    period_width, band_width: channels of the first layers.
  """

  periods: Sequence[int] = (2, 3, 5, 7, 11)
  n_ffts: Sequence[int] = (2048, 1024, 512)
  period_width: int = 32
  band_width: int = 32
  dtype: Dtype = jnp.float32

  def setup(self):
    self.discriminators = [
      *(PeriodDiscriminator(p, self.period_width, self.dtype) for p in self.periods),
      *(SpectrogramDiscriminator(n, self.band_width, self.dtype) for n in self.n_ffts),
    ]

  def __call__(self, x_BxN) -> list[list[jax.Array]]:
    """Feature maps of every sub-discriminator, the score last, float32."""
    x_BxN = x_BxN - x_BxN.mean(-1, keepdims=True)
    x_BxN = 0.8 * x_BxN / (jnp.abs(x_BxN).max(-1, keepdims=True) + 1e-9)
    maps = [discriminator(x_BxN) for discriminator in self.discriminators]
    return jax.tree.map(lambda m: m.astype(jnp.float32), maps)
