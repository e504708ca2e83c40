"""Weight-normed 2-D convolutions over (B, T, F, C), for discriminators."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import Dtype, torch_uniform
from jaxcodec.nn.weight_norm import layer_kernel

_THIN = 8  # channels


def _thin_conv2d(x, kernel, stride, dilation):
  """Unpadded convolution; (B, T, F, I) and (H, W, I, O) to (B, T', F', O).

  Strided in F, dilated in T. A matmul of windows along F, put together from blocks of
  `stride` bins, whose rows are added along T. With so few channels XLA's op on a CPU
  takes up to twice the time, and two and a half times with its gradient.
  """
  rows, width, inputs, outputs = kernel.shape
  B, T, F, _ = x.shape
  bins, frames = (F - width) // stride + 1, T - dilation * (rows - 1)
  blocks = -(-width // stride)  # in a window
  whole = (bins + blocks - 1) * stride
  x = jnp.pad(x, ((0, 0), (0, 0), (0, max(0, whole - F)), (0, 0)))[:, :, :whole]
  x = x.reshape(B, T, -1, stride * inputs)
  windows = jnp.concatenate([x[:, :, i : i + bins] for i in range(blocks)], -1)
  kernel = jnp.pad(kernel, ((0, 0), (0, blocks * stride - width), (0, 0), (0, 0)))
  kernel = kernel.reshape(rows, -1, outputs).swapaxes(0, 1)
  y = windows @ kernel.reshape(-1, rows * outputs)
  of_rows = enumerate(jnp.split(y, rows, -1))
  return sum(
    lax.slice_in_dim(y, i * dilation, i * dilation + frames, axis=1) for i, y in of_rows
  )


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
    kernel = layer_kernel(self, shape, init).astype(self.dtype)
    bias = self.param("bias", init, (self.features,))
    y = self._convolve(x_BxTxFxC.astype(self.dtype), kernel)
    return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)

  def _convolve(self, x, kernel):
    (across, stride), (dilation, along) = self.strides, self.dilation
    if max(kernel.shape[2:]) <= _THIN and across == along == 1:
      x = jnp.pad(x, ((0, 0), *((p, p) for p in self.padding), (0, 0)))
      return _thin_conv2d(x, kernel, stride, dilation)
    return lax.conv_general_dilated(
      *(x, kernel, self.strides),
      [(p, p) for p in self.padding],
      rhs_dilation=self.dilation,
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
