"""Renames and transposes weights between PyTorch and Flax, by a table of regexes."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from jaxcodec.porting import weight_norm_names


class Layout(NamedTuple):
  """The transposition between PyTorch's array and ours.

  Attributes:
    to_flax: maps PyTorch's array to ours.
    to_torch: the inverse.
  """

  to_flax: Callable[[np.ndarray], np.ndarray]
  to_torch: Callable[[np.ndarray], np.ndarray]


def permuted(*axes: int) -> Layout:
  """Returns the layout whose Flax array has PyTorch's axes in this order."""
  inverse = tuple(int(i) for i in np.argsort(axes))
  return Layout(lambda a: a.transpose(axes), lambda a: a.transpose(inverse))


_MOST = 20  # problems that an error lists
CONV1D = permuted(2, 1, 0)
CONV_TRANSPOSE1D = permuted(2, 0, 1)
CONV2D = permuted(2, 3, 1, 0)


class Rule(NamedTuple):
  """Renames one kind of parameter, in either direction.

  Attributes:
    torch: regex that a whole PyTorch name matches: escaped text and groups, so that
      it can be inverted. A weight-normed kernel is `weight_v` with its norm
      `weight_g`; other names are translated to these before.
    flax: our path with slashes, which uses each of the regex's groups; None for a
      buffer that is not a parameter of ours.
    layout: of the array; None leaves it as it is.
  """

  torch: str
  flax: str | None
  layout: Layout | None = None


def to_flax(
  state: Mapping[str, np.ndarray],
  rules: Sequence[Rule],
  shapes: Mapping[str, Any],
) -> dict[str, Any]:
  """Converts a PyTorch state dict to nested dicts of our parameters.

  Kernels whose weight norm was removed in PyTorch become kernels without a `scale`.

  Args:
    state: arrays by PyTorch's names.
    rules: the first that matches a name decides.
    shapes: nested dicts of anything with a `.shape` and a `.dtype`, which the result
      must fill.

  Raises:
    ValueError: lists every name that no rule knows, every parameter that was not
      filled or was filled twice, and every shape that differs.
  """
  wanted, found, problems = traverse_util.flatten_dict(shapes, sep="/"), {}, []
  for name, array in state.items():
    plain = weight_norm_names.to_weight_g(name)
    rule = _first(rules, plain)
    if rule is None and (folded := weight_norm_names.unfold(plain)):
      plain, norm = folded
      rule = _first(rules, plain)
      if scale := _first(rules, norm):
        wanted.pop(_rename(scale, norm), None)
    if rule is not None and rule.flax is None:
      continue
    path = None if rule is None else _rename(rule, plain)
    if path not in wanted:
      problems.append(f"{name}: not a parameter of this model")
    elif path in found:
      problems.append(f"{name}: {path} is filled twice")
    else:
      found[path] = array if rule.layout is None else rule.layout.to_flax(array)
      if found[path].shape != wanted[path].shape:
        shapes_differ = f"expected {wanted[path].shape}, got {found[path].shape}"
        problems.append(f"{name}: {shapes_differ}")
      elif not _is_finite(array, wanted[path].dtype):
        problems.append(f"{name}: holds NaN or infinity")
  problems += [f"{path}: not in the weights" for path in wanted if path not in found]
  if problems:
    raise ValueError(_listed("the weights do not fit", problems))
  found = {p: np.array(a, wanted[p].dtype, order="C") for p, a in found.items()}
  return traverse_util.unflatten_dict(found, sep="/")


def is_known(name: str, rules: Sequence[Rule]) -> bool:
  """Tells whether a rule is about the name, with its weight norm or without."""
  plain = weight_norm_names.to_weight_g(name)
  folded = weight_norm_names.unfold(plain)
  return any(_first(rules, one) for one in (plain, *(folded or ())))


def select_buffers(
  state: Mapping[str, np.ndarray], rules: Sequence[Rule]
) -> dict[str, np.ndarray]:
  """Returns the buffers of a state dict, whose rules have no Flax path."""
  first = {name: _first(rules, weight_norm_names.to_weight_g(name)) for name in state}
  return {n: state[n] for n, rule in first.items() if rule and rule.flax is None}


def to_torch(
  variables: Mapping[str, Any],
  rules: Sequence[Rule],
  weight_norm: str = weight_norm_names.WEIGHT_G,
) -> dict[str, np.ndarray]:
  """Converts nested dicts of our parameters to a PyTorch state dict.

  Args:
    variables: nested dicts as `to_flax` returns them.
    rules: the first whose path matches decides.
    weight_norm: whose names to give, `WEIGHT_G` or `PARAMETRIZATIONS` of
      `weight_norm_names`.

  Raises:
    ValueError: lists every parameter that no rule knows.
  """
  flat, state, unknown = traverse_util.flatten_dict(variables, sep="/"), {}, []
  for path, array in flat.items():
    rule, name = _invert_first(rules, path)
    if rule is None:
      unknown.append(path)
      continue
    if folded := weight_norm_names.fold(name):
      norm = _first(rules, folded.norm)
      if norm is not None and _rename(norm, folded.norm) not in flat:
        name = folded.weight
    array = np.asarray(array)
    array = array if rule.layout is None else rule.layout.to_torch(array)
    state[weight_norm_names.from_weight_g(name, weight_norm)] = np.ascontiguousarray(
      array
    )
  if unknown:
    raise ValueError(_listed("no PyTorch name for", unknown))
  return state


def _is_finite(array: np.ndarray, wanted: Any) -> bool:
  """Tells whether the array has neither NaN nor infinity as the wanted type."""
  return bool(np.isfinite(array.astype(wanted)).all())


def _listed(what: str, lines: Sequence[str]) -> str:
  """Returns a message of several lines; beyond `_MOST` they are only counted."""
  more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
  return "\n  ".join([f"{what}:", *lines[:_MOST], *more])


def _first(rules: Sequence[Rule], name: str) -> Rule | None:
  return next((rule for rule in rules if re.fullmatch(rule.torch, name)), None)


def _rename(rule: Rule, name: str) -> str:
  return re.fullmatch(rule.torch, name).expand(rule.flax)


def _invert_first(rules: Sequence[Rule], path: str) -> tuple[Rule | None, str]:
  for rule in rules:
    if rule.flax is not None:
      pattern, name = invert(rule.torch, rule.flax)
      if match := re.fullmatch(pattern, path):
        return rule, match.expand(name)
  return None, ""


_GROUP = re.compile(r"\(([^()]*)\)")


@functools.cache
def invert(pattern: str, replacement: str) -> tuple[str, str]:
  """Returns the (pattern, replacement) that undo a `re.Match.expand`.

  Raises:
    ValueError: the pattern holds more than escaped text and groups, or the
      replacement lacks one of the groups.
  """
  groups = _GROUP.findall(pattern)
  text = _GROUP.split(pattern)[::2]
  if any(re.escape(part.replace("\\.", ".")) != part for part in text):
    raise ValueError(f"{pattern!r} holds more than escaped text and groups")
  back, seen = "", set()
  for i, part in enumerate(re.split(r"\\(\d)", replacement)):
    if i % 2 == 0:
      back += re.escape(part)
    else:
      back += (
        f"(?P=g{part})" if part in seen else f"(?P<g{part}>{groups[int(part) - 1]})"
      )
      seen.add(part)
  if len(seen) != len(groups):
    raise ValueError(f"{replacement!r} does not use every group of {pattern!r}")
  name = text[0] + "".join(rf"\g<g{n}>{part}" for n, part in enumerate(text[1:], 1))
  return back, name.replace("\\.", ".")
