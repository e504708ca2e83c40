"""Nested dicts of weights: names, fingerprints, and whether they fit a model."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from jaxcodec import files

BUFFERS = "buffers"  # arrays of an imported file that aren't weights, e.g. windows


def fingerprint(variables: Any) -> str:
  """Returns the sha256 of names and values, whatever their order and device."""
  digest = hashlib.sha256()
  for key, value in flatten(jax.device_get(variables)):
    tensor = as_tensor(value)
    digest.update(f"{key} {tensor.dtype.str} {tensor.shape}\n".encode())
    digest.update(tensor.data)
  return digest.hexdigest()


def only_parts(variables: Any, parts: Collection[str]) -> dict[str, Any]:
  """Returns a codec's variables, of its parts with these names alone."""
  found = {
    collection: {name: value for name, value in by_part.items() if name in parts}
    for collection, by_part in variables.items()
    if collection != BUFFERS
  }
  return {collection: by_part for collection, by_part in found.items() if by_part}


def token_fingerprint(variables: Any) -> str:
  """Returns the fingerprint of what makes a codec's tokens: all but the decoder."""
  return fingerprint(only_parts(variables, ("encoder", "quantizer")))


def restore_weight_norm(
  path: files.PathLike, variables: Any, like: Any
) -> dict[str, Any]:
  """Returns variables that training can start from, with weight norms as in `like`.

  Where a scale was folded into its kernel, it becomes the norm of the kernel.

  Args:
    path: the file that the variables come from, for errors.
    variables: nested dicts of arrays; `buffers` among them are dropped.
    like: nested dicts of arrays or `ShapeDtypeStruct`s.

  Raises:
    ValueError: lists every parameter that is missing, left over or of another shape.
  """
  flat = without_buffers(dict(flatten(variables)))
  wanted = dict(flatten(like))
  compare(path, flat, wanted)
  for key in wanted.keys() - flat.keys():
    kernel = np.asarray(flat[f"{key.removesuffix('scale')}kernel"])
    axes = tuple(i for i, size in enumerate(wanted[key].shape) if size == 1)
    flat[key] = np.sqrt(np.sum(kernel * kernel, axes, keepdims=True))
  return traverse_util.unflatten_dict(flat, sep="/")


def flatten(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """Yields (path, leaf) pairs, sorted by the keys of each level."""
  for keys, leaf in sorted(traverse_util.flatten_dict(tree).items()):
    for depth, key in enumerate(keys):
      if "/" in key:
        parent = "/".join(keys[:depth]) or "the top level"
        raise ValueError(f"key {key!r} in {parent!r} holds a slash")
    yield "/".join(keys), leaf


def without_buffers(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Returns those of `flatten`'s pairs that are weights."""
  return {key: a for key, a in flat.items() if not key.startswith(f"{BUFFERS}/")}


def as_tensor(value: Any) -> np.ndarray:
  """Returns an array in one piece of memory; floats become float32."""
  array = np.asarray(value)
  if jax.numpy.issubdtype(array.dtype, np.floating):
    array = array.astype(np.float32)
  return np.ascontiguousarray(array).reshape(array.shape)


def compare(
  path: files.PathLike, found: dict[str, Any], expected: dict[str, Any]
) -> None:
  """Raises ValueError listing what of a file's arrays doesn't fit a model's."""
  missing = expected.keys() - found.keys() - _folded(found, expected)
  lines = [f"missing: {key}" for key in sorted(missing)]
  lines += [f"left over: {key}" for key in sorted(found.keys() - expected.keys())]
  for key in sorted(found.keys() & expected.keys()):
    shape, wanted = tuple(found[key].shape), tuple(expected[key].shape)
    if shape != wanted:
      lines.append(f"misshapen: {key} is {shape}, expected {wanted}")
  if lines:
    raise ValueError(f"{path} doesn't fit the model:\n  " + "\n  ".join(lines))


def _folded(found: dict[str, Any], expected: dict[str, Any]) -> set[str]:
  """Returns the weight norms' scales if `found` has none of them, else nothing.

  Either all norms of a model are folded, or a missing one is an error.
  """
  kernels = [key for key in found if key.endswith("/kernel")]
  scales = {f"{key.removesuffix('kernel')}scale" for key in kernels} & expected.keys()
  return set() if scales & found.keys() else scales
