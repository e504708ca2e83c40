"""Multi-period discriminator (HiFi-GAN's), as DAC and Vocos have it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.codecs.discriminators.stack import feature_maps
from jaxcodec.nn.conv import Conv1d, Dtype


class PeriodDiscriminator(nn.Module):
  """Convolutions over every period-th sample of (B, N); maps are (B * period, T, C).

  Source: dac/model/discriminator.py, MPD; vocos/discriminators.py, DiscriminatorP.

  Attributes:
    period: samples.
    width: channels of the first convolution; the originals have 32.
    always_pad: whether to pad by a whole period where it divides N, as DAC does.
    first_map: whether to return the first layer's map too.
    dtype: compute type.
  """

  period: int
  width: int = 32
  always_pad: bool = True
  first_map: bool = True
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
    missing = -N % self.period
    if self.always_pad and not missing:
      missing = self.period
    x = jnp.pad(x_BxN, ((0, 0), (0, missing)), mode="reflect")
    x = x.reshape(B, -1, self.period).swapaxes(1, 2).reshape(B * self.period, -1, 1)
    maps = feature_maps(self.convs, x)
    return [*maps[0 if self.first_map else 1 :], self.conv_post(maps[-1])]
