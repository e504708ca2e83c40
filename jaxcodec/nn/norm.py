"""Group norm over time."""

import math

import flax.linen as nn
import jax.numpy as jnp

from jaxcodec.nn.conv import mask_frames
from jaxcodec.nn.reach import Reach

_EPSILON = 1e-5


class TimeGroupNorm(nn.Module):
  """Normalises each item over its valid frames and all channels, in float32.

  A gain and an offset for each channel follow. Source: Wu and He 2018; torch's
  GroupNorm with one group, as in encodec/modules/conv.py.

  Attributes:
    each_channel: whether to normalise every channel on its own, as torch's GroupNorm
      with as many groups as channels does.
  """

  each_channel: bool = False

  reach = Reach(before=math.inf, after=math.inf)

  @nn.compact
  def __call__(self, x_BxTxC, valid_B=None):
    T, C = x_BxTxC.shape[1:]
    scale = self.param("scale", nn.initializers.ones, (C,)).reshape(1, 1, -1)
    bias = self.param("bias", nn.initializers.zeros, (C,)).reshape(1, 1, -1)
    frames = T if valid_B is None else jnp.maximum(valid_B, 1).reshape(-1, 1, 1)
    count = frames if self.each_channel else frames * C
    x = x_BxTxC.astype(jnp.float32)
    mean = self._total(mask_frames(x, valid_B)) / count
    x = x - mean
    variance = self._total(mask_frames(x * x, valid_B)) / count
    y = x / jnp.sqrt(variance + _EPSILON) * scale + bias
    return y.astype(x_BxTxC.dtype)

  def _total(self, x_BxTxC):
    x_Bx1xC = x_BxTxC.sum(1, keepdims=True)
    return x_Bx1xC if self.each_channel else x_Bx1xC.sum(2, keepdims=True)
