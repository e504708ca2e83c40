"""Moves weights between PyTorch's names and layouts and ours, by a table of regexes."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
  """How an array is laid out differently on the two sides.

  Attributes:
    to_flax: PyTorch's array to ours.
    to_torch: the inverse.
  """

  to_flax: Callable[[np.ndarray], np.ndarray]
  to_torch: Callable[[np.ndarray], np.ndarray]


def permuted(*axes: int) -> Layout:
  """Ours has PyTorch's axes in this order."""
  inverse = tuple(int(i) for i in np.argsort(axes))
  return Layout(lambda a: a.transpose(axes), lambda a: a.transpose(inverse))


CONV1D = permuted(2, 1, 0)
CONV_TRANSPOSE1D = permuted(2, 0, 1)
CONV2D = permuted(2, 3, 1, 0)


class Rule(NamedTuple):
  """Renames one kind of parameter.

  Attributes:
    torch: regex that a whole PyTorch name matches.
    flax: our path with slashes; may use the regex's groups.
    layout: of the array; None leaves it as it is.
  """

  torch: str
  flax: str
  layout: Layout | None = None


def to_flax(
  state: Mapping[str, np.ndarray],
  rules: Sequence[Rule],
  shapes: Mapping[str, Any],
) -> dict[str, Any]:
  """Nested dicts of our parameters from a PyTorch state dict.

  Args:
    state: arrays by PyTorch's names.
    rules: the first that matches a name decides.
    shapes: nested dicts of anything with a `.shape`, which the result must fill.

  Raises:
    ValueError: lists every name that no rule knows, every parameter that was not
      filled or was filled twice, and every shape that differs.
  """
  wanted, found, problems = dict(flatten(shapes)), {}, []
  for name, array in state.items():
    path, layout = _renamed(name, rules)
    if path is None or path not in wanted:
      problems.append(f"{name}: not a parameter of this model")
      continue
    if path in found:
      problems.append(f"{name}: {path} is filled twice")
    array = array if layout is None else layout.to_flax(array)
    if array.shape != wanted[path].shape:
      problems.append(f"{name}: expected {wanted[path].shape}, got {array.shape}")
    found[path] = np.ascontiguousarray(array)
  problems += [f"{path}: not in the weights" for path in wanted if path not in found]
  if problems:
    raise ValueError("the weights do not fit:\n  " + "\n  ".join(problems))
  return unflatten(found)


def flatten(tree: Mapping[str, Any], prefix: str = ""):
  """(path with slashes, leaf) pairs of nested dicts."""
  for name, child in tree.items():
    if isinstance(child, Mapping):
      yield from flatten(child, f"{prefix}{name}/")
    else:
      yield prefix + name, child


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Nested dicts from paths with slashes."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    *parents, name = path.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  return tree


def _renamed(name: str, rules: Sequence[Rule]) -> tuple[str | None, Layout | None]:
  for rule in rules:
    if match := re.fullmatch(rule.torch, name):
      return match.expand(rule.flax), rule.layout
  return None, None
