"""Weight-normed 2-D convolutions over (B, T, F, C), for discriminators."""

import flax.linen as nn
import jax.numpy as jnp

from jaxcodec.nn import ops
from jaxcodec.nn.conv import Dtype, torch_uniform
from jaxcodec.nn.kernel_use import KernelUse
from jaxcodec.nn.weight_norm import layer_kernel


class Conv2d(nn.Module):
  """2-D convolution over (B, T, F, C), for discriminators; see `Conv1d`."""

  features: int
  kernel_size: tuple[int, int]
  strides: tuple[int, int] = (1, 1)
  padding: tuple[int, int] = (0, 0)
  dilation: tuple[int, int] = (1, 1)
  dtype: Dtype = jnp.float32
  weight_norm: bool = True

  @nn.compact
  def __call__(self, x_BxTxFxC):
    shape = (*self.kernel_size, x_BxTxFxC.shape[-1], self.features)
    init = torch_uniform(shape[0] * shape[1] * shape[2])
    kernel = layer_kernel(self, shape, init)
    bias = self.param("bias", init, (self.features,))
    x = x_BxTxFxC.astype(self.dtype)
    y = ops.conv2d(x, kernel, self.strides, self.padding, self.dilation)
    return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)

  @property
  def kernel_use(self) -> KernelUse:
    return KernelUse(stride=max(self.strides), dtype=self.dtype)
