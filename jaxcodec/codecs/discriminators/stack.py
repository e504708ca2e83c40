"""Convolutions that the discriminators share."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from jaxcodec.nn.conv import Dtype
from jaxcodec.nn.conv2d import Conv2d


def feature_maps(layers: Sequence[Callable], x, slope: float = 0.1) -> list[jax.Array]:
  """Returns each layer's output after a leaky ReLU, which is the next one's input."""
  maps = []
  for layer in layers:
    x = nn.leaky_relu(layer(x), slope)
    maps.append(x)
  return maps


def spectrogram_convs(
  width: int,
  *,
  dilations: Sequence[int] = (1, 1, 1),
  first_normed: bool = True,
  dtype: Dtype,
) -> list[Conv2d]:
  """Returns five layers over (B, T, F, 2): one wide, three strided in F, one small.

  Args:
    width: channels.
    dilations: in time, of the strided layers.
    first_normed: whether the first layer has weight norm, as the others have.
    dtype: compute type.
  """
  wide = dict(kernel_size=(3, 9), dtype=dtype)
  first = Conv2d(width, padding=(1, 4), weight_norm=first_normed, **wide)
  strided = [
    Conv2d(width, strides=(1, 2), padding=(d, 4), dilation=(d, 1), **wide)
    for d in dilations
  ]
  return [first, *strided, Conv2d(width, (3, 3), padding=(1, 1), dtype=dtype)]


def spectrogram_score(dtype: Dtype) -> Conv2d:
  """Returns the last layer, over (B, T, F, C)."""
  return Conv2d(1, (3, 3), padding=(1, 1), dtype=dtype)
