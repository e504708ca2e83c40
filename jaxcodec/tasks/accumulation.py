"""Computes a batch in parts, one after another, with the memory of one part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.types import Batch

# (carry, part of the batch, its number) to (carry, tree of floats).
Function = Callable[[Any, Batch, jax.Array], tuple[Any, Any]]


def mean_over_parts(
  function: Function, carry: Any, batch: Batch, count: int
) -> tuple[Any, Any]:
  """Averages what `function` gives for each of `count` equal parts of a batch.

  For a loss that is a mean over the batch's rows, the mean of the parts' gradients is
  the batch's gradient. A loop runs the parts, each with the carry of the one before.

  Returns:
    The last carry, and the mean tree.

  Raises:
    ValueError: the parts cannot be equal.
  """
  parts = {name: _split(name, array, count) for name, array in batch.items()}
  part = {name: array[0] for name, array in parts.items()}
  shapes = jax.eval_shape(function, carry, part, jnp.int32(0))[1]
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

  def step(both, numbered):
    carry, total = both
    carry, tree = function(carry, *numbered)
    return (carry, jax.tree.map(jnp.add, total, tree)), None

  numbered = parts, jnp.arange(count)
  (carry, total), _ = lax.scan(step, (carry, zeros), numbered)
  return carry, jax.tree.map(lambda x: x / count, total)


def _split(name, array, count):
  """Reshapes (B, ...) to (count, B / count, ...) so that no row changes its device."""
  rows = array.shape[0]
  if rows % count:
    raise ValueError(f"{name}: {count} equal parts cannot be made of {rows} rows")
  return array.reshape(rows // count, count, *array.shape[1:]).swapaxes(0, 1)
