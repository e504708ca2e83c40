"""Forms of operations that XLA's CPU compiler runs faster than its own operations.

`ops` chooses them on a CPU; `plain` has what they compute under the same names.
"""

from jaxcodec.nn.cpu.conv import conv1d, grouped_conv1d
from jaxcodec.nn.cpu.conv2d import conv2d
from jaxcodec.nn.cpu.elementwise import exp_minus_one, first_argmax, gelu
from jaxcodec.nn.cpu.memory import (
  cache_sizes,
  join_heads,
  score_numbers,
  window_numbers,
)
from jaxcodec.nn.cpu.rows import sum_rows
from jaxcodec.nn.cpu.stored import stored_kernel, window_columns
from jaxcodec.nn.cpu.top import keep_top_k, keep_top_p
from jaxcodec.nn.cpu.trig import sin_cos, sin_cos_up_to_sign

__all__ = [
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
  "score_numbers",
  "sin_cos",
  "sin_cos_up_to_sign",
  "stored_kernel",
  "sum_rows",
  "window_columns",
  "window_numbers",
]
