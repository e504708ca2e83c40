"""Counts floating-point operations of traced programs; peak rates of devices.

XLA's own `cost_analysis` counts the body of a loop once, so a model that scans over its
layers would seem too cheap by their number.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
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
    moved: bytes that the products read and write, each operand and result once; of a
      kernel, what it takes and gives.
    single: part of both, of float32 operands in the platform's default precision; those
      in kernels, which have none, aside.
    exact: part of both, of float32 operands in all of their bits.
  """

  model: float = 0.0
  recomputed: float = 0.0
  moved: float = 0.0
  single: float = 0.0
  exact: float = 0.0

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


def products(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> Iterator[Any]:
  """Yields the equations that multiply matrices or convolve, but for those in kernels.

  A kernel chooses by itself how it multiplies what it holds.
  """
  for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
    if equation.primitive.name in _PRODUCTS:
      yield equation
    elif equation.primitive.name != _KERNEL:
      for program in _called(equation):
        yield from products(program)


def _count_equation(equation: Any) -> Work:
  work = _count_body(equation)
  if _RECOMPUTED in str(equation.source_info.name_stack):
    return work._replace(model=0.0, recomputed=work.total)
  return work


def _count_body(equation: Any) -> Work:
  name, params = equation.primitive.name, equation.params
  if name in _PRODUCTS:
    shapes = [x.aval.shape for x in (*equation.invars, *equation.outvars)]
    operations = 2.0 * _PRODUCTS[name](*shapes, params=params)
    precise = {} if (kind := precision(equation)) == "half" else {kind: operations}
    return Work(operations, moved=_bytes(equation), **precise)
  inner = [count(program) for program in _called(equation)]
  if name == "cond":
    return max(inner, key=lambda work: work.total)
  total = functools.reduce(Work.plus, inner, Work())
  total = total.times(_TIMES[name](params)) if name in _TIMES else total
  if name == _KERNEL:
    total = total._replace(single=0.0, moved=_bytes(equation))
  return total


def _bytes(equation: Any) -> float:
  """Returns the bytes of what an equation takes and gives."""
  arrays = [variable.aval for variable in (*equation.invars, *equation.outvars)]
  return sum(array.size * array.dtype.itemsize for array in arrays)


def precision(equation: Any) -> str:
  """Returns how a product's operands are multiplied: "half", "single" or "exact"."""
  if all(x.aval.dtype != jnp.float32 for x in equation.invars[:2]):
    return "half"
  asked = equation.params.get("precision")
  asked = asked if isinstance(asked, tuple) else (asked,)
  return "exact" if all(x == lax.Precision.HIGHEST for x in asked) else "single"


def _called(equation: Any) -> list[Any]:
  values = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
  return [value for value in values if _is_jaxpr(value)]


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
_KERNEL = "pallas_call"
# How often each primitive runs what it holds.
_TIMES = {
  "scan": lambda params: params["length"],
  "shard_map": lambda params: params["mesh"].size,
  _KERNEL: lambda params: math.prod(params["grid_mapping"].grid),
}
# The scope that JAX gives to what the gradient of `jax.checkpoint` computes again.
_RECOMPUTED = "rematted_computation"
