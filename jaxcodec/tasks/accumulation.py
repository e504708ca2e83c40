"""Computes a batch in parts, one after another, with the memory of one part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcodec.types import Batch

# (carry, part of the batch, its number) to (carry, tree of floats and rows' integers).
Function = Callable[[Any, Batch, jax.Array], tuple[Any, Any]]

_NOTHING = np.float32(0)  # in the place of what is summed or joined elsewhere


def mean_over_parts(
  function: Function, carry: Any, batch: Batch, count: int
) -> tuple[Any, Any]:
  """Averages what `function` gives for each of `count` equal parts of a batch.

  For a loss that is a mean over the batch's rows, the mean of the parts' gradients is
  the batch's gradient. A loop runs the parts, each with the carry of the one before.

  Returns:
    The last carry, and the mean tree. Integers in it, of which each row of a part has
    some, are those of all rows of the batch.

  Raises:
    ValueError: the parts cannot be equal.
  """
  parts = {name: _split(name, array, count) for name, array in batch.items()}
  part = {name: array[0] for name, array in parts.items()}
  shapes = jax.eval_shape(function, carry, part, jnp.int32(0))[1]
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), _floats_of(shapes))

  def step(both, numbered):
    carry, total = both
    carry, tree = function(carry, *numbered)
    rows = jax.tree.map(lambda x: _NOTHING if is_float(x) else x, tree)
    return (carry, jax.tree.map(jnp.add, total, _floats_of(tree))), rows

  numbered = parts, jnp.arange(count)
  (carry, total), rows = lax.scan(step, (carry, zeros), numbered)

  def join(shape, total, rows):
    return total / count if is_float(shape) else _join(rows)

  return carry, jax.tree.map(join, shapes, total, rows)


def is_float(x: jax.Array) -> bool:
  """Whether an array is averaged over parts, and not joined."""
  return jnp.issubdtype(x.dtype, jnp.inexact)


def _floats_of(tree):
  return jax.tree.map(lambda x: x if is_float(x) else _NOTHING, tree)


def _join(array):
  """Reshapes (count, B / count, ...) to (B, ...), as `_split` found it."""
  return array.swapaxes(0, 1).reshape(-1, *array.shape[2:])


def _split(name, array, count):
  """Reshapes (B, ...) to (count, B / count, ...) so that no row changes its device."""
  rows = array.shape[0]
  if rows % count:
    raise ValueError(f"{name}: {count} equal parts cannot be made of {rows} rows")
  return array.reshape(rows // count, count, *array.shape[1:]).swapaxes(0, 1)
