"""2-D convolutions of few channels as matrix products of windows."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import plain

_THIN = 8  # channels


def conv2d(
  x_BxTxFxI: jax.Array,
  kernel_HxWxIxO: jax.Array,
  strides: tuple[int, int],
  padding: tuple[int, int],
  dilation: tuple[int, int],
) -> jax.Array:
  """See `plain.conv2d`, which is slow on few channels, above all in its gradient."""
  (across, stride), (spread, along) = strides, dilation
  if max(kernel_HxWxIxO.shape[2:]) > _THIN or not across == along == 1:
    return plain.conv2d(x_BxTxFxI, kernel_HxWxIxO, strides, padding, dilation)
  x = jnp.pad(x_BxTxFxI, ((0, 0), *((p, p) for p in padding), (0, 0)))
  return thin_conv2d(x, kernel_HxWxIxO, stride, spread)


def thin_conv2d(
  x_BxTxFxI: jax.Array, kernel_HxWxIxO: jax.Array, stride: int, dilation: int
) -> jax.Array:
  """Convolves without padding, strided in F and dilated in T.

  Windows along F, put together from blocks of `stride` bins, are multiplied by all
  rows of the kernel at once; the rows' products are then added along T.
  """
  rows, width, inputs, outputs = kernel_HxWxIxO.shape
  B, T, F, _ = x_BxTxFxI.shape
  bins, frames = (F - width) // stride + 1, T - dilation * (rows - 1)
  blocks = -(-width // stride)  # in a window
  whole = (bins + blocks - 1) * stride
  missing = ((0, 0), (0, 0), (0, max(0, whole - F)), (0, 0))
  x = jnp.pad(x_BxTxFxI, missing)[:, :, :whole]
  x = x.reshape(B, T, -1, stride * inputs)
  windows = jnp.concatenate([x[:, :, i : i + bins] for i in range(blocks)], -1)
  missing = ((0, 0), (0, blocks * stride - width), (0, 0), (0, 0))
  kernel = jnp.pad(kernel_HxWxIxO, missing)
  kernel = kernel.reshape(rows, -1, outputs).swapaxes(0, 1)
  y = windows @ kernel.reshape(-1, rows * outputs)
  return sum(
    lax.slice_in_dim(row, i * dilation, i * dilation + frames, axis=1)
    for i, row in enumerate(jnp.split(y, rows, -1))
  )
