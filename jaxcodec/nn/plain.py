"""What the operations of `ops` compute, in operations of XLA; for GPUs and TPUs."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.kernel_use import KernelUse

_FIRST_CACHE = 256  # frames


def conv1d(
  x_BxTxI: jax.Array, kernel_WxIxO: jax.Array, stride: int, dilation: int
) -> jax.Array:
  """Convolves without padding, to (B, (T - dilation (W - 1) - 1) // stride + 1, O)."""
  if len(kernel_WxIxO) == 1 and stride == 1:
    return x_BxTxI @ kernel_WxIxO[0]
  return lax.conv_general_dilated(
    x_BxTxI,
    kernel_WxIxO,
    window_strides=(stride,),
    padding="VALID",
    rhs_dilation=(dilation,),
    dimension_numbers=("NHC", "HIO", "NHC"),
  )


def grouped_conv1d(
  x_BxTxC: jax.Array, kernel_WxIxO: jax.Array, stride: int, groups: int
) -> jax.Array:
  """Convolves each group of I channels to its O / groups, without padding."""
  return lax.conv_general_dilated(
    x_BxTxC,
    kernel_WxIxO,
    window_strides=(stride,),
    padding="VALID",
    dimension_numbers=("NHC", "HIO", "NHC"),
    feature_group_count=groups,
  )


def conv2d(
  x_BxTxFxI: jax.Array,
  kernel_HxWxIxO: jax.Array,
  strides: tuple[int, int],
  padding: tuple[int, int],
  dilation: tuple[int, int],
) -> jax.Array:
  """Convolves along T and F, with `padding` zeros on both sides of each."""
  return lax.conv_general_dilated(
    x_BxTxFxI,
    kernel_HxWxIxO,
    window_strides=strides,
    padding=[(p, p) for p in padding],
    rhs_dilation=dilation,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def window_columns(x_BxTxI: jax.Array, kernel_WxIxO: jax.Array) -> jax.Array:
  """Returns what each frame adds to its window of W outputs, (B, T, W * O)."""
  inputs = kernel_WxIxO.shape[1]
  return x_BxTxI @ kernel_WxIxO.transpose(1, 0, 2).reshape(inputs, -1)


def sin_cos(u: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns sin(u) and cos(u) of float32 radians, |u| up to about 1e4."""
  return jnp.sin(u), jnp.cos(u)


def sin_cos_up_to_sign(u: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns sin(u) and cos(u), both possibly negated: enough for their products."""
  return jnp.sin(u), jnp.cos(u)


def exp_minus_one(x: jax.Array) -> jax.Array:
  """Returns exp(x) - 1 to float32's absolute, not relative, precision."""
  return jnp.expm1(x)


def gelu(x: jax.Array) -> jax.Array:
  """Returns the exact Gaussian error linear unit, x * Phi(x)."""
  return jax.nn.gelu(x, approximate=False)


def first_argmax(scores_xV: jax.Array) -> jax.Array:
  """Returns the first index of the largest value of the last axis, int32.

  The first of equals is also torch's choice.
  """
  return jnp.argmax(scores_xV, -1).astype(jnp.int32)


def sum_rows(x_TxD: jax.Array, index_T: jax.Array, num: int) -> jax.Array:
  """Adds up the float32 rows of each index, (num, D); an index out of range has none.

  It is a product with ones and zeros: a GPU's scatter adds in another order every time.
  """
  hits_TxV = jax.nn.one_hot(index_T, num, dtype=x_TxD.dtype)
  return jnp.matmul(hits_TxV.T, x_TxD, precision=lax.Precision.HIGHEST)


def keep_top_k(logits_xV: jax.Array, k: int) -> jax.Array:
  """Makes all but the k largest logits -inf; ties with the k-th stay."""
  least = lax.top_k(logits_xV, k)[0][..., -1:]
  return jnp.where(logits_xV >= least, logits_xV, -jnp.inf)


def keep_top_p(logits_xV: jax.Array, p: float) -> jax.Array:
  """Makes all but the likeliest tokens of probability p or more -inf.

  They are as few as can be, but ties with the last of them stay.
  """
  descending_xV = jnp.sort(logits_xV, axis=-1, descending=True)
  # What is likelier than each; of the last one at least so much is missing.
  before_xV = jnp.cumsum(jax.nn.softmax(descending_xV, axis=-1), axis=-1)[..., :-1]
  last = (before_xV < p).sum(-1, keepdims=True)
  least = jnp.take_along_axis(descending_xV, last, axis=-1)
  return jnp.where(logits_xV >= least, logits_xV, -jnp.inf)


def cache_sizes(frames: int) -> list[int]:
  """Returns to how many frames a decoder's cache grows in turn, `frames` at last.

  Every frame reads the whole cache, and every size is a loop to compile.
  """
  doubled = [_FIRST_CACHE << i for i in range(32) if _FIRST_CACHE << i < frames]
  return [*doubled, frames]


def join_heads(x_BxHxTxD: jax.Array) -> jax.Array:
  """Gives batch and heads the axes that cached attention has them in: two, or one."""
  return x_BxHxTxD


def stored_kernel(use: KernelUse, kernel: jax.Array) -> dict[str, Any]:
  """Returns the parameters that hold a kernel for inference, by name."""
  del use
  return {"kernel": kernel}


def score_numbers() -> int:
  """Returns how many scores of codes are held at once, about."""
  return 2**26


def window_numbers() -> int:
  """Returns how many numbers an item's largest array in a window may have."""
  return 2**26
