"""What a layer declares about its kernel."""

from typing import NamedTuple

import jax.numpy as jnp


class KernelUse(NamedTuple):
  """How a layer uses its parameter `kernel`; layers have it as `kernel_use`.

  Attributes:
    kept_axis: the axis whose slices have a norm each, under weight norm.
    transposed: whether the convolution is; its kernel is (W, I, O) all the same.
    stride: of the convolution; of one in two dimensions the larger.
    groups: of its channels.
    dtype: that the kernel is computed with.
  """

  kept_axis: int = -1
  transposed: bool = False
  stride: int = 1
  groups: int = 1
  dtype: jnp.dtype = jnp.float32
