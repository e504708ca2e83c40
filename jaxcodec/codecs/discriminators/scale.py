"""DAC's multi-scale waveform discriminator."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.codecs.discriminators.stack import feature_maps
from jaxcodec.nn.conv import Conv1d, Dtype
from jaxcodec.nn.resample import downsample


class ScaleDiscriminator(nn.Module):
  """Grouped, strided convolutions over resampled audio (B, N); maps are (B, T, C).

  Source: dac/model/discriminator.py, MSD.

  Attributes:
    rate: factor by which the audio is downsampled.
    width: channels of the first convolution, a multiple of 4; the original has 16.
    dtype: compute type.
  """

  rate: int = 1
  width: int = 16
  dtype: Dtype = jnp.float32

  def setup(self):
    grouped = [
      Conv1d(
        self.width * multiple,
        kernel_size=41,
        stride=4,
        padding=20,
        groups=groups,
        dtype=self.dtype,
      )
      for multiple, groups in ((4, 4), (16, 16), (64, 64), (64, 256))
    ]
    first = Conv1d(self.width, 15, dtype=self.dtype)
    self.convs = [first, *grouped, Conv1d(self.width * 64, 5, dtype=self.dtype)]
    self.conv_post = Conv1d(1, 3, dtype=self.dtype)

  def __call__(self, x_BxN) -> list[jax.Array]:
    maps = feature_maps(self.convs, downsample(x_BxN, self.rate)[..., None])
    return [*maps, self.conv_post(maps[-1])]
