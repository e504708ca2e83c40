"""Constraints on how arrays lie on devices, where XLA would choose badly.

They do nothing without a mesh (`sharding.use_mesh`), or where its devices cannot share
the rows evenly.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

BATCH_AXES = ("data", "fsdp")


def rows(x: jax.Array) -> jax.Array:
  """Shards the first dimension of `x` as the batch is.

  XLA may otherwise shard activations along their width, as `fsdp` does the weights, and
  then sum whole activations over the devices in every layer.
  """
  spec = _spec(x)
  return x if spec is None else jax.lax.with_sharding_constraint(x, spec)


def whole(tree: Any) -> Any:
  """Replicates arrays on all devices.

  For weights that XLA would leave sharded, and shard activations likewise; and for
  tables, as a lookup in a sharded one sends its result, activations, between devices.
  """
  if _parts(_axes()) == 1:
    return tree
  return jax.lax.with_sharding_constraint(tree, PartitionSpec())


def by_rows(
  function: Callable[[jax.Array], jax.Array], x: jax.Array, *, is_kernel: bool = False
) -> jax.Array:
  """Computes `function(x)`, each device on its own rows.

  For operations such as FFTs that XLA cannot shard and would run on the whole batch on
  every device. The function must treat rows alike and keep them first.

  Args:
    function: of some rows.
    x: all rows.
    is_kernel: whether it calls a kernel, which can't say over what its result varies.
  """
  spec = _spec(x)
  if spec is None:
    return function(x)
  run = jax.shard_map(function, in_specs=spec, out_specs=spec, check_vma=not is_kernel)
  return run(x)


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
