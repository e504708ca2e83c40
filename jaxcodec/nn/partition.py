"""Where a batch's rows lie on the devices, said where XLA would put them elsewhere.

Without a mesh (`sharding.use_mesh`), and for rows that its devices cannot share evenly,
all of it does nothing.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

BATCH_AXES = ("data", "fsdp")


def rows(x: jax.Array) -> jax.Array:
  """`x` with its first dimension cut as the batch is.

  XLA may otherwise cut activations along their width, as `fsdp` cuts the weights, and
  then sums whole activations over the devices in every layer.
  """
  spec = _spec(x)
  return x if spec is None else jax.lax.with_sharding_constraint(x, spec)


def whole(tree: Any) -> Any:
  """Arrays with all of each on every device.

  For weights that XLA would otherwise leave cut, and cut activations alike, and for
  tables that rows are looked up in: out of a table that is cut, it would gather what
  the lookup gives, activations again, over all devices.
  """
  if _parts(_axes()) == 1:
    return tree
  return jax.lax.with_sharding_constraint(tree, PartitionSpec())


def by_rows(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
  """`function(x)`, each device computing the rows that it holds.

  For operations that XLA cannot cut and would run on the whole batch on every device,
  such as FFTs. The function must treat rows alike and keep them first.
  """
  spec = _spec(x)
  if spec is None:
    return function(x)
  return jax.shard_map(function, in_specs=spec, out_specs=spec)(x)


def _spec(x: jax.Array) -> PartitionSpec | None:
  axes = _axes()
  parts = _parts(axes)
  if parts == 1 or not x.ndim or x.shape[0] % parts:
    return None
  return PartitionSpec(axes)


def _axes() -> tuple[str, ...]:
  mesh = jax.sharding.get_abstract_mesh()
  return tuple(axis for axis in BATCH_AXES if axis in mesh.axis_names)


def _parts(axes: tuple[str, ...]) -> int:
  mesh = jax.sharding.get_abstract_mesh()
  return math.prod(mesh.shape[axis] for axis in axes)
