"""Joins small leaves of a state to a few long arrays: saving costs time per array."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.parallel import sharding

MAX_BYTES = 2**20  # larger leaves aren't packed


class Packed(NamedTuple):
  """A state in two parts: its large leaves, and its small ones packed.

  Attributes:
    rest: the state with None in place of packed leaves.
    packs: {dtype: (N,) values of all packed leaves of that type, one after another}.
    names: {dtype: the leaves' paths in that order}.
  """

  rest: Any
  packs: dict[str, np.ndarray]
  names: dict[str, list[str]]


def pack(state: Any) -> Packed:
  """Packs the small leaves that every device holds whole.

  Args:
    state: tree of arrays, without typed random keys.
  """
  leaves = _by_path(state)
  names: dict[str, list[str]] = {}
  for name, leaf in leaves.items():
    if leaf.nbytes <= MAX_BYTES and getattr(leaf, "is_fully_replicated", True):
      names.setdefault(str(leaf.dtype), []).append(name)
  packs = {
    dtype: _concatenate([leaves[n] for n in group]) for dtype, group in names.items()
  }
  return Packed(without(state, names), packs, names)


def is_finite(packed: Packed) -> bool:
  """Whether all floats are finite.

  It checks each array by itself: a single program over all leaves of a state would take
  long to compile.
  """
  arrays = [*packed.packs.values(), *jax.tree.leaves(packed.rest)]
  floats = [x for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact)]
  return all(jax.device_get([_all_finite(x) for x in floats]))


def without(state: Any, names: dict[str, list[str]]) -> Any:
  """Returns `Packed.rest` of a state or an abstract one; `names` as in `Packed`."""
  packed = {name for group in names.values() for name in group}
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: None if sharding.leaf_path(path) in packed else leaf, state
  )


def abstract_packs(like: Any, names: dict[str, list[str]]) -> dict[str, np.ndarray]:
  """Returns arrays shaped as `Packed.packs`; `like` as in `unpack`."""
  leaves = _by_path(like)
  return {
    dtype: np.empty(sum(leaves[name].size for name in group), jnp.dtype(dtype))
    for dtype, group in names.items()
  }


def unpack(packed: Packed, like: Any) -> Any:
  """Puts the packed leaves back into the state.

  Args:
    packed: what `pack` returned.
    like: the whole state as `ShapeDtypeStruct`s (or arrays) with the shardings wanted,
      which need not be those of the packed state.
  """
  targets, whole = _by_path(like), _by_path(packed.rest)
  for dtype, group in packed.names.items():
    ends = np.cumsum([targets[name].size for name in group])
    pieces = np.split(packed.packs[dtype], ends[:-1])
    for name, piece in zip(group, pieces, strict=True):
      whole[name] = _put(piece.reshape(targets[name].shape), targets[name].sharding)
  return jax.tree.unflatten(jax.tree.structure(like), [whole[n] for n in targets])


def _all_finite(x):
  return (
    np.isfinite(x).all() if isinstance(x, np.ndarray) else _all_finite_on_devices(x)
  )


@jax.jit
def _all_finite_on_devices(x):
  return jnp.isfinite(x).all()


def _by_path(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {sharding.leaf_path(path): leaf for path, leaf in leaves}


def _concatenate(leaves):
  return np.concatenate([np.ravel(leaf) for leaf in jax.device_get(leaves)])


def _put(value, place):
  """Puts a host array on a sharding's devices, some of which other processes hold."""
  if place is None:
    return jnp.asarray(value)
  return jax.make_array_from_callback(value.shape, place, lambda index: value[index])
