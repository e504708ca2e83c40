"""Operations whose fastest form depends on the platform; the one place that chooses.

`plain` says what each computes, in operations of XLA. On a CPU some of these are many
times slower than the same numbers computed in another way, which `cpu` holds. The
choice is made when a program is traced; see `platform.on_cpu`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.nn import attention_kernels, cpu, plain, platform
from jaxcodec.nn.cpu.stored import read_stored
from jaxcodec.nn.platform import on_cpu

__all__ = [
  "attention_kernel",
  "cache_sizes",
  "conv1d",
  "conv2d",
  "exp_minus_one",
  "first_argmax",
  "gelu",
  "grouped_conv1d",
  "join_heads",
  "keep_top_k",
  "keep_top_p",
  "read_stored",
  "score_numbers",
  "sin_cos",
  "sin_cos_up_to_sign",
  "stored_kernel",
  "sum_rows",
  "window_columns",
  "window_numbers",
]


def _by_platform(name: str) -> Callable:
  elsewhere, on_a_cpu = getattr(plain, name), getattr(cpu, name)

  @functools.wraps(elsewhere)
  def operation(*args, **kwargs):
    return (on_a_cpu if on_cpu() else elsewhere)(*args, **kwargs)

  return operation


conv1d = _by_platform("conv1d")
grouped_conv1d = _by_platform("grouped_conv1d")
conv2d = _by_platform("conv2d")
window_columns = _by_platform("window_columns")
sin_cos = _by_platform("sin_cos")
sin_cos_up_to_sign = _by_platform("sin_cos_up_to_sign")
exp_minus_one = _by_platform("exp_minus_one")
gelu = _by_platform("gelu")
first_argmax = _by_platform("first_argmax")
sum_rows = _by_platform("sum_rows")
score_numbers = _by_platform("score_numbers")
keep_top_k = _by_platform("keep_top_k")
keep_top_p = _by_platform("keep_top_p")
cache_sizes = _by_platform("cache_sizes")
join_heads = _by_platform("join_heads")
stored_kernel = _by_platform("stored_kernel")
window_numbers = _by_platform("window_numbers")


class AttentionKernel(NamedTuple):
  """A kernel for self-attention.

  Attributes:
    attend: of (B, T, H, D) queries, keys, values, and what frames see.
    packed: 0 if it takes a `visibility.Visible`; if it takes a `visibility.Packed`, a
      number that the frames must be a multiple of.
  """

  attend: Callable[..., jax.Array]
  packed: int


def attention_kernel(dtype: jnp.dtype, head_dim: int) -> AttentionKernel | None:
  """Returns the platform's kernel for heads of this type and width, None if none is.

  NVIDIA GPUs have cuDNN's, for half precision; TPUs have JAX's splash attention.
  """
  if platform.has_cudnn_attention() and attention_kernels.cudnn_takes(dtype, head_dim):
    return AttentionKernel(attention_kernels.cudnn, attention_kernels.CUDNN_FRAMES)
  if platform.name() == "tpu" and attention_kernels.splash_takes(dtype):
    splash = attention_kernels.splash_attention()
    return None if splash is None else AttentionKernel(splash, packed=0)
  return None
