"""Rematerialisation: blocks whose activations are computed again for the gradient."""

from typing import Any

import flax.linen as nn
import jax

# What a block keeps for its gradient, least memory last: all activations; the results
# of matrix products and convolutions; its inputs.
MODES = ("none", "products", "full")


def mode(value: bool | str) -> str:
  """Returns one of `MODES`; True is "full" and False "none", as configs once had it.

  Raises:
    ValueError: another value.
  """
  if isinstance(value, bool):
    return "full" if value else "none"
  if value not in MODES:
    raise ValueError(f"remat must be one of {MODES}, got {value!r}")
  return value


def remat(block: type[nn.Module], value: bool | str, **options: Any) -> type[nn.Module]:
  """Returns `block`, whose gradient keeps what the mode says, and computes the rest.

  Names of parameters and gradients are the same. XLA's CPU compiler saves no memory by
  it unless told so (`xla_cpu_scheduler_type`).

  Args:
    block: a module's class.
    value: see `mode`.
    options: of `flax.linen.remat`.
  """
  chosen = mode(value)
  if chosen == "none":
    return block
  policy = _is_product if chosen == "products" else None
  return nn.remat(block, policy=policy, **options)


def _is_product(primitive: Any, *arguments: Any, **params: Any) -> bool:
  """Tells products of weights, which cost more than their memory, from all else.

  Products with axes of a batch are those of attention, whose results are the largest.
  """
  dots = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
  return primitive.name == "conv_general_dilated" or bool(
    dots(primitive, *arguments, **params)
  )
