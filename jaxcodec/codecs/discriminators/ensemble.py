"""The ensembles that DAC, EnCodec and Vocos are trained against.

Each has `loss_weights`, the weight of every sub-discriminator in the losses. Members
are named as in the originals, so that weights move by name.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.codecs.discriminators.ms_stft import StftDiscriminator
from jaxcodec.codecs.discriminators.multi_band import MultiBandDiscriminator
from jaxcodec.codecs.discriminators.period import PeriodDiscriminator
from jaxcodec.codecs.discriminators.scale import ScaleDiscriminator
from jaxcodec.nn.conv import Dtype
from jaxcodec.nn.remat import remat

Maps = list[list[jax.Array]]


def _peak_normalized(x_BxN):
  """Removes the offset and scales the peak to 0.8.

  The gradient of `max` goes to the samples that equal it. If a compiler computes them
  twice, rounded otherwise, there are none, and it is NaN; an index is always there.
  """
  x_BxN = x_BxN - x_BxN.mean(-1, keepdims=True)
  size_BxN = jnp.abs(x_BxN)
  place_BxN = lax.broadcasted_iota(jnp.int32, x_BxN.shape, 1)
  is_peak_BxN = place_BxN == size_BxN.argmax(-1, keepdims=True)
  peak_Bx1 = jnp.where(is_peak_BxN, size_BxN, 0).sum(-1, keepdims=True)
  return 0.8 * x_BxN / (peak_Bx1 + 1e-9)


def _float32(maps: Maps) -> Maps:
  return jax.tree.map(lambda m: m.astype(jnp.float32), maps)


class DacDiscriminator(nn.Module):
  """DAC's ensemble over periods, waveform scales (none in its configs) and STFTs.

  Source: dac/model/discriminator.py, Discriminator.

  Attributes:
    periods: samples, of the multi-period discriminators.
    n_ffts: samples, of the multi-band STFT discriminators.
    period_width, band_width: channels of the first layers.
    dtype: compute type.
    rates: factor by which each waveform scale downsamples the audio.
    scale_width: channels of the first layer of the waveform scales.
    remat: whether to rematerialise each sub-discriminator; see `nn.remat`.
  """

  periods: Sequence[int] = (2, 3, 5, 7, 11)
  n_ffts: Sequence[int] = (2048, 1024, 512)
  period_width: int = 32
  band_width: int = 32
  dtype: Dtype = jnp.float32
  rates: Sequence[int] = ()
  scale_width: int = 16
  remat: bool = False

  @property
  def loss_weights(self) -> tuple[float, ...]:
    return (1.0,) * (len(self.periods) + len(self.rates) + len(self.n_ffts))

  def setup(self):
    kind = dict(dtype=self.dtype)
    period, scale, bands = (
      remat(member, self.remat)
      for member in (PeriodDiscriminator, ScaleDiscriminator, MultiBandDiscriminator)
    )
    self.discriminators = [
      *(period(p, self.period_width, **kind) for p in self.periods),
      *(scale(r, self.scale_width, **kind) for r in self.rates),
      *(bands(n, self.band_width, **kind) for n in self.n_ffts),
    ]

  def __call__(self, x_BxN) -> Maps:
    """Returns the feature maps of every sub-discriminator, the score last, float32."""
    x_BxN = _peak_normalized(x_BxN)
    return _float32([member(x_BxN) for member in self.discriminators])


class EncodecDiscriminator(nn.Module):
  """EnCodec's multi-scale STFT discriminator; its losses are means over the scales.

  Source: encodec/msstftd.py; audiocraft/adversarial/losses.py for the means.

  Attributes:
    n_ffts: samples, one for each scale.
    width, slope: see `StftDiscriminator`.
    dtype: compute type.
    remat: whether to rematerialise each scale; see `nn.remat`.
  """

  n_ffts: Sequence[int] = (1024, 2048, 512)
  width: int = 32
  slope: float = 0.2
  dtype: Dtype = jnp.float32
  remat: bool = False

  @property
  def loss_weights(self) -> tuple[float, ...]:
    return (1 / len(self.n_ffts),) * len(self.n_ffts)

  def setup(self):
    scale = remat(StftDiscriminator, self.remat)
    self.discriminators = [
      scale(n, self.width, self.slope, self.dtype) for n in self.n_ffts
    ]

  def __call__(self, x) -> Maps:
    """Returns the maps of every scale, the score last; x is (B, N) or (B, N, C)."""
    return _float32([member(x) for member in self.discriminators])


class VocosDiscriminator(nn.Module):
  """Vocos' ensemble over periods and STFTs, without the maps of their first layers.

  Its losses are the mean over the periods plus `resolution_weight` times the mean over
  the STFTs. Source: vocos/discriminators.py; vocos/experiment.py for the weights.

  Attributes:
    periods: samples, of the multi-period discriminators.
    n_ffts: samples, of the multi-band STFT discriminators.
    period_width, band_width: channels of the first layers.
    resolution_weight: 0.1 in Vocos' mel recipe, 1 in its EnCodec recipe.
    dtype: compute type.
    remat: whether to rematerialise each sub-discriminator; see `nn.remat`.
  """

  periods: Sequence[int] = (2, 3, 5, 7, 11)
  n_ffts: Sequence[int] = (2048, 1024, 512)
  period_width: int = 32
  band_width: int = 32
  resolution_weight: float = 0.1
  dtype: Dtype = jnp.float32
  remat: bool = False

  @property
  def loss_weights(self) -> tuple[float, ...]:
    P, R = len(self.periods), len(self.n_ffts)
    return (1 / P,) * P + (self.resolution_weight / R,) * R

  def setup(self):
    of_period = dict(always_pad=False, first_map=False, dtype=self.dtype)
    of_bands = dict(center=True, first_maps=False, dtype=self.dtype)
    period, bands = (
      remat(member, self.remat)
      for member in (PeriodDiscriminator, MultiBandDiscriminator)
    )
    self.multiperioddisc = [
      period(p, self.period_width, **of_period) for p in self.periods
    ]
    self.multiresddisc = [bands(n, self.band_width, **of_bands) for n in self.n_ffts]

  def __call__(self, x_BxN) -> Maps:
    """Returns the feature maps of every sub-discriminator, the score last, float32."""
    maps = [member(x_BxN) for member in self.multiperioddisc]
    x_BxN = _peak_normalized(x_BxN)
    return _float32(maps + [member(x_BxN) for member in self.multiresddisc])
