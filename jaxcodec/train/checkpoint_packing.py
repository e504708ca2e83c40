"""Small leaves of a state as a few long arrays: a checkpoint's cost is per array."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.parallel import sharding

MAX_BYTES = 2**20  # of a leaf that is packed


class Packed(NamedTuple):
  """A state cut in two.

  Attributes:
    rest: the state with None for the leaves that are packed.
    packs: {dtype: (N,) values of all packed leaves of it, one after another}.
    names: {dtype: the leaves' paths in that order}.
  """

  rest: Any
  packs: dict[str, np.ndarray]
  names: dict[str, list[str]]


def pack(state: Any) -> Packed:
  """Takes the small leaves that every device holds whole out of a state.

  Args:
    state: tree of arrays, without typed random keys.
  """
  leaves = _by_path(state)
  names: dict[str, list[str]] = {}
  for name, leaf in leaves.items():
    if leaf.nbytes <= MAX_BYTES and getattr(leaf, "is_fully_replicated", True):
      names.setdefault(str(leaf.dtype), []).append(name)
  packs = {dtype: _joined([leaves[n] for n in group]) for dtype, group in names.items()}
  return Packed(without(state, names), packs, names)


def is_finite(packed: Packed) -> bool:
  """Whether all floats are finite.

  One program over all leaves of a state would take a quarter of a minute to compile.
  """
  arrays = [*packed.packs.values(), *jax.tree.leaves(packed.rest)]
  floats = [x for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact)]
  return all(jax.device_get([_all_finite(x) for x in floats]))


def without(state: Any, names: dict[str, list[str]]) -> Any:
  """`Packed.rest` of a state or an abstract one; `names` as in `Packed`."""
  packed = {name for group in names.values() for name in group}
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: None if sharding.leaf_path(path) in packed else leaf, state
  )


def abstract_packs(like: Any, names: dict[str, list[str]]) -> dict[str, np.ndarray]:
  """Arrays of the shapes and dtypes of `Packed.packs`; `like` as of `unpack`."""
  leaves = _by_path(like)
  return {
    dtype: np.empty(sum(leaves[name].size for name in group), jnp.dtype(dtype))
    for dtype, group in names.items()
  }


def unpack(packed: Packed, like: Any) -> Any:
  """The state again.

  Args:
    packed: what `pack` gave.
    like: tree of `ShapeDtypeStruct` (or arrays) of the whole state, whose leaves may be
      placed otherwise than those that were packed.
  """
  targets, whole = _by_path(like), _by_path(packed.rest)
  for dtype, group in packed.names.items():
    ends = np.cumsum([targets[name].size for name in group])
    pieces = np.split(packed.packs[dtype], ends[:-1])
    for name, piece in zip(group, pieces, strict=True):
      whole[name] = _placed(piece.reshape(targets[name].shape), targets[name].sharding)
  return jax.tree.unflatten(jax.tree.structure(like), [whole[n] for n in targets])


def _all_finite(x):
  return np.isfinite(x).all() if isinstance(x, np.ndarray) else _on_devices(x)


@jax.jit
def _on_devices(x):
  return jnp.isfinite(x).all()


def _by_path(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {sharding.leaf_path(path): leaf for path, leaf in leaves}


def _joined(leaves):
  return np.concatenate([np.ravel(leaf) for leaf in jax.device_get(leaves)])


def _placed(value, place):
  """On the devices of a sharding, of which other processes may hold some."""
  if place is None:
    return jnp.asarray(value)
  return jax.make_array_from_callback(value.shape, place, lambda index: value[index])
