"""Operations whose fastest form depends on the platform; the one place that chooses.

`plain` says what each computes, in operations of XLA. On a CPU some of these are many
times slower than the same numbers computed in another way, which `cpu` holds. The
choice is made when a program is traced; see `platform.on_cpu`.
"""

import functools
from collections.abc import Callable

from jaxcodec.nn import cpu, plain
from jaxcodec.nn.cpu.stored import read_stored
from jaxcodec.nn.platform import on_cpu

__all__ = [
  "conv1d",
  "conv2d",
  "exp_minus_one",
  "first_argmax",
  "gelu",
  "grouped_conv1d",
  "join_heads",
  "read_stored",
  "sin_cos",
  "sin_cos_up_to_sign",
  "stored_kernel",
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
join_heads = _by_platform("join_heads")
stored_kernel = _by_platform("stored_kernel")
window_numbers = _by_platform("window_numbers")
