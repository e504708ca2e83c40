"""Counts floating-point operations of traced programs; peak rates of devices.

XLA's own `cost_analysis` counts the body of a loop once, so a model that scans over its
layers would seem too cheap by their number.
"""

import math
from typing import Any

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


def count(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> float:
  """Counts the FLOPs of matrix products and convolutions; a multiply-add is two.

  A loop counts as often as it runs, once if its length isn't known; a condition as its
  costliest branch. Rematerialised operations count again. Elementwise work doesn't.
  """
  jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
  return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> float:
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
  """Leaves out taps on the zeros between dilated inputs, as in a stride's gradient."""
  outputs = rhs[params["dimension_numbers"].rhs_spec[0]]
  taps = math.prod(rhs) // outputs
  return math.prod(out) * taps / math.prod(params["lhs_dilation"])


_PRODUCTS = {"dot_general": _dot, "conv_general_dilated": _conv}
