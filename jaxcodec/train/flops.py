"""Counts floating-point operations of traced programs; peak rates of devices.

XLA's own `cost_analysis` counts the body of a loop once, so a model that scans over its
layers would seem too cheap by their number.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
from jax.extend import core

# Dense bfloat16 FLOP/s from the vendors' data sheets, by the beginning of
# `device_kind`; the first match counts.
PEAKS = {
  "NVIDIA H100 NVL": 835e12,
  "NVIDIA H100 PCIe": 756e12,
  "NVIDIA H100": 989e12,
  "NVIDIA H200": 989e12,
  "NVIDIA A100": 312e12,
  "TPU v6 lite": 918e12,
  "TPU v5 lite": 197e12,
  "TPU v5e": 197e12,
  "TPU v5": 459e12,
  "TPU v4": 275e12,
}


def peak(device: jax.Device) -> float | None:
  """Returns the peak of dense bfloat16 FLOP/s, None for devices not in the table."""
  kind = device.device_kind
  return next((p for name, p in PEAKS.items() if kind.startswith(name)), None)


class Work(NamedTuple):
  """Floating-point operations.

  Attributes:
    model: of the computation as it is written, forward and backward. MFU counts these.
    recomputed: of activations that are computed again rather than kept. HFU counts them
      too, as the hardware does both.
    moved: bytes that the products read and write, each operand and result once.
  """

  model: float = 0.0
  recomputed: float = 0.0
  moved: float = 0.0

  @property
  def total(self) -> float:
    return self.model + self.recomputed

  def times(self, factor: float) -> "Work":
    return Work(*(part * factor for part in self))

  def plus(self, other: "Work") -> "Work":
    return Work(*(a + b for a, b in zip(self, other, strict=True)))


def count(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> Work:
  """Counts the FLOPs of matrix products and convolutions; a multiply-add is two.

  A loop counts as often as it runs, once if its length isn't known; a condition as its
  costliest branch. Elementwise work doesn't count. Attention counts all keys, whatever
  is masked, and of a kernel the scores that its gradient computes again don't count.
  """
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  return functools.reduce(Work.plus, map(_count_equation, jaxpr.eqns), Work())


def _count_equation(equation: Any) -> Work:
  work = _count_body(equation)
  if _RECOMPUTED in str(equation.source_info.name_stack):
    return Work(recomputed=work.total, moved=work.moved)
  return work


def _count_body(equation: Any) -> Work:
  name, params = equation.primitive.name, equation.params
  if name in _PRODUCTS:
    arrays = [variable.aval for variable in (*equation.invars, *equation.outvars)]
    shapes = [array.shape for array in arrays]
    moved = sum(array.size * array.dtype.itemsize for array in arrays)
    return Work(2.0 * _PRODUCTS[name](*shapes, params=params), moved=moved)
  inner = [
    count(leaf)
    for leaf in jax.tree.leaves(list(params.values()), is_leaf=_is_jaxpr)
    if _is_jaxpr(leaf)
  ]
  if name == "cond":
    return max(inner, key=lambda work: work.total)
  total = functools.reduce(Work.plus, inner, Work())
  return total.times(_TIMES[name](params)) if name in _TIMES else total


def _is_jaxpr(value: Any) -> bool:
  return isinstance(value, core.ClosedJaxpr | core.Jaxpr)


def _dot(lhs, _, out, *, params):
  (contracted, _), _ = params["dimension_numbers"]
  return math.prod(out) * math.prod(lhs[axis] for axis in contracted)


def _conv(_, rhs, out, *, params):
  """Leaves out taps on the zeros between dilated inputs, as in a stride's gradient."""
  outputs = rhs[params["dimension_numbers"].rhs_spec[0]]
  taps = math.prod(rhs) // outputs
  return math.prod(out) * taps / math.prod(params["lhs_dilation"])


def _attention(q_BxTxHxD, k_BxSxHxD, *_, params):
  """Two products, scores and their weighted sum."""
  del params
  return 2 * math.prod(q_BxTxHxD) * k_BxSxHxD[1]


def _attention_gradient(*shapes, params):
  return 2 * _attention(*shapes, params=params)


_PRODUCTS = {
  "dot_general": _dot,
  "conv_general_dilated": _conv,
  "dot_product_attention_fwd_wrapper": _attention,
  "dot_product_attention_bwd_wrapper": _attention_gradient,
}
# How often each primitive runs what it holds.
_TIMES = {
  "scan": lambda params: params["length"],
  "shard_map": lambda params: params["mesh"].size,
  "pallas_call": lambda params: math.prod(params["grid_mapping"].grid),
}
# The scope that JAX gives to what the gradient of `jax.checkpoint` computes again.
_RECOMPUTED = "rematted_computation"
