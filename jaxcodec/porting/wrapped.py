"""Finds a state dict inside what training programs save around it.

Checkpoints hold it beside optimisers and averages, and wrappers of a model (data
parallelism, `torch.compile`, a GAN) put their name before those of its parameters.
"""

import collections
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Where a state dict may lie, the likeliest to be meant for use first.
_INSIDE = ("state_dict", "best_state", "ema", "model", "model_state_dict", "generator")
_INSIDE_ALSO = ("state",)  # as in `ema.state.model`
_PREFIX = re.compile(r"((?:module|_orig_mod|generator|model)\.)*")

State = dict[str, np.ndarray]


def look_into(tree: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
  """Returns the innermost state dict of a checkpoint, and where it was found."""
  path: list[str] = []
  while name := _next(tree):
    path.append(name)
    tree = tree[name]
  if not path or path == ["state_dict"]:
    return tree, []
  return tree, [f"the weights are those in {'.'.join(path)!r}"]


def _next(tree: Mapping[str, Any]) -> str | None:
  for name in (*_INSIDE, *_INSIDE_ALSO):
    inner = tree.get(name)
    if isinstance(inner, Mapping) and _holds_arrays(inner):
      return name
  return None


def _holds_arrays(tree: Any) -> bool:
  """Tells whether arrays are anywhere in nested dicts."""
  if isinstance(tree, Mapping):
    return any(map(_holds_arrays, tree.values()))
  return isinstance(tree, np.ndarray)


def without_prefix(
  state: State, count_known: Callable[[State], int]
) -> tuple[State, list[str]]:
  """Takes a wrapper's prefix off the names, if more of them are known without it.

  Args:
    state: arrays by PyTorch's names.
    count_known: tells how many of a state dict's names belong to the model.

  Returns:
    The arrays whose names had the prefix, and what was done, for the user.
  """
  groups: dict[str, State] = collections.defaultdict(dict)
  for name, array in state.items():
    prefix = _PREFIX.match(name)[0]
    groups[prefix][name.removeprefix(prefix)] = array
  before = count_known(state)
  counts = {prefix: count_known(group) for prefix, group in groups.items()}
  best = max(counts, key=counts.__getitem__, default="")
  if not best or counts[best] <= before:
    return state, []
  left = len(state) - len(groups[best])
  others = f"; {left} arrays without it are left out" if left else ""
  return groups[best], [f"the prefix {best!r} is taken off the names{others}"]
