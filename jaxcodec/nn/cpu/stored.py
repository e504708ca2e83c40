"""Kernels as a CPU reads them fastest, prepared once for inference."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import plain
from jaxcodec.nn.cpu import toom_cook
from jaxcodec.nn.kernel_use import KernelUse


class SevenTaps(NamedTuple):
  """A kernel of 7 taps beside its products for `toom_cook`."""

  kernel_WxIxO: jax.Array
  products: toom_cook.Products


class Columns(NamedTuple):
  """The kernel of a transposed convolution as a matrix (W * O, I)."""

  columns_MxI: jax.Array


def stored_kernel(use: KernelUse, kernel: jax.Array) -> dict[str, Any]:
  """See `plain.stored_kernel`.

  A transposed convolution's becomes `columns`, along whose rows the product with a
  frame reads: arranging DAC's first one anew takes longer than the product. One that
  `toom_cook` serves gets its `products` beside it.
  """
  if use.transposed:
    return {"columns": kernel.swapaxes(1, 2).reshape(-1, kernel.shape[1])}
  ordinary = use.stride == use.groups == 1 and use.dtype == jnp.float32
  if ordinary and toom_cook.serves(kernel.shape):
    return {"kernel": kernel, "products": toom_cook.products(kernel)}
  return {"kernel": kernel}


def read_stored(params: Mapping[str, Any], dtype) -> SevenTaps | Columns | None:
  """Returns the form that parameters of `stored_kernel` hold; None if a kernel."""
  if "columns" in params:
    return Columns(params["columns"].astype(dtype))
  if "products" in params:
    return SevenTaps(params["kernel"], params["products"])
  return None


def window_columns(x_BxTxI: jax.Array, kernel: jax.Array | Columns) -> jax.Array:
  """See `plain.window_columns`; also takes the kernel's stored form."""
  if isinstance(kernel, Columns):
    return lax.dot_general(x_BxTxI, kernel.columns_MxI, (((2,), (1,)), ((), ())))
  return plain.window_columns(x_BxTxI, kernel)
