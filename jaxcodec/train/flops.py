"""Floating-point operations of traced programs, and what devices can do at most.

XLA's own `cost_analysis` counts the body of a loop once, so that a model whose layers
are scanned over would seem as many times cheaper.
"""

import math
from typing import Any

import jax
from jax.extend import core

# Dense bfloat16 FLOP/s, from the vendors' data sheets, by the beginning of
# `device_kind`; the first that fits counts.
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
  """Dense bfloat16 FLOP/s at most, None for devices that aren't in the table."""
  kind = device.device_kind
  return next((p for name, p in PEAKS.items() if kind.startswith(name)), None)


def count(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> float:
  """FLOPs of the matrix products and convolutions, a multiply-add being two.

  Loops count as often as they run, of the branches of a condition the costliest, of a
  loop whose length isn't known one turn. What is computed again for the gradient
  (rematerialisation) counts again. Elementwise work doesn't count.
  """
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation: Any) -> float:
  name, params = equation.primitive.name, equation.params
  if name in _PRODUCTS:
    shapes = [variable.aval.shape for variable in (*equation.invars, *equation.outvars)]
    return 2.0 * _PRODUCTS[name](*shapes, params)
  inner = [
    count(leaf)
    for leaf in jax.tree.leaves(list(params.values()), is_leaf=_is_jaxpr)
    if _is_jaxpr(leaf)
  ]
  if name == "cond":
    return max(inner)
  if name == "scan":
    return params["length"] * sum(inner)
  if name == "shard_map":
    return params["mesh"].size * sum(inner)
  return sum(inner)


def _is_jaxpr(value: Any) -> bool:
  return isinstance(value, core.ClosedJaxpr | core.Jaxpr)


def _dot(lhs, _, out, params):
  (contracted, _), _ = params["dimension_numbers"]
  return math.prod(out) * math.prod(lhs[axis] for axis in contracted)


def _conv(_, rhs, out, params):
  """Taps on the zeros between dilated inputs, as in a stride's gradient, are none."""
  outputs = rhs[params["dimension_numbers"].rhs_spec[0]]
  taps = math.prod(rhs) // outputs
  return math.prod(out) * taps / math.prod(params["lhs_dilation"])


_PRODUCTS = {"dot_general": _dot, "conv_general_dilated": _conv}
