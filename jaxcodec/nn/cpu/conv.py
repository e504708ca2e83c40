"""1-D convolutions as sums and matrix products of shifted inputs."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import plain
from jaxcodec.nn.cpu import toom_cook
from jaxcodec.nn.cpu.stored import SevenTaps

_FEW = 2  # channels of audio
_LONG = 64  # taps


def conv1d(
  x_BxTxI: jax.Array, kernel: jax.Array | SevenTaps, stride: int, dilation: int
) -> jax.Array:
  """See `plain.conv1d`; also takes the kernel's stored form."""
  if isinstance(kernel, SevenTaps):
    if toom_cook.pays(*x_BxTxI.shape[1:]):
      return toom_cook.convolve(x_BxTxI, kernel.products, dilation)
    kernel = kernel.kernel_WxIxO
  width, inputs, outputs = kernel.shape
  if (width == 1 and stride == 1) or min(inputs, outputs) > _FEW:
    return plain.conv1d(x_BxTxI, kernel, stride, dilation)
  return _thin_conv1d(x_BxTxI, kernel, stride, dilation)


def _thin_conv1d(x, kernel, stride, dilation):
  """A matrix product over all taps: XLA's operation is several times slower."""
  width, inputs, outputs = kernel.shape
  length = (x.shape[1] - dilation * (width - 1) - 1) // stride + 1

  def tap(a, k):
    first = k * dilation
    return lax.slice_in_dim(a, first, first + (length - 1) * stride + 1, stride, 1)

  if inputs <= _FEW:
    columns = jnp.concatenate([tap(x, k) for k in range(width)], -1)
    return columns @ kernel.reshape(width * inputs, outputs)
  columns = x @ kernel.transpose(1, 0, 2).reshape(inputs, width * outputs)
  taps = jnp.split(columns, width, -1)
  return sum(tap(columns, k) for k, columns in enumerate(taps))


def grouped_conv1d(
  x_BxTxC: jax.Array, kernel_WxIxO: jax.Array, stride: int, groups: int
) -> jax.Array:
  """See `plain.grouped_conv1d`, whose gradient is tens of times slower on a CPU.

  A matrix product of windows, put together from blocks of `stride` frames. The windows
  of a long kernel would fill the memory: there each group is a convolution of its own.
  """
  x, kernel = x_BxTxC, kernel_WxIxO
  width, inputs, outputs = kernel.shape
  if width > _LONG:
    parts = zip(*(jnp.split(a, groups, -1) for a in (x, kernel)), strict=True)
    return jnp.concatenate([conv1d(*part, stride, 1) for part in parts], -1)
  length = (x.shape[1] - width) // stride + 1
  blocks = -(-width // stride)  # in a window
  kernel = jnp.pad(kernel, ((0, blocks * stride - width), (0, 0), (0, 0)))
  frames = (length + blocks - 1) * stride
  x = jnp.pad(x, ((0, 0), (0, max(0, frames - x.shape[1])), (0, 0)))[:, :frames]
  x = x.reshape(x.shape[0], -1, stride, groups, inputs)
  windows = jnp.concatenate([x[:, i : i + length] for i in range(blocks)], 2)
  kernel = kernel.reshape(-1, inputs, groups, outputs // groups)
  y = jnp.einsum("BTWGI,WIGO->BTGO", windows, kernel)
  return y.reshape(*y.shape[:2], outputs)
