"""The names under which PyTorch keeps a weight-normed kernel.

`torch.nn.utils.weight_norm` has `weight_g` (norm) and `weight_v` (direction),
`torch.nn.utils.parametrizations.weight_norm` has `parametrizations.weight.original0`
and `original1`; where the norm was removed, `weight` is the kernel itself.
"""

from collections.abc import Iterable
from typing import NamedTuple

WEIGHT_G, PARAMETRIZATIONS = "weight_g", "parametrizations"
_NEW = {
  ".weight_g": ".parametrizations.weight.original0",
  ".weight_v": ".parametrizations.weight.original1",
}


class Folded(NamedTuple):
  """Names of a kernel without weight norm and of the norm that it lacks."""

  weight: str
  norm: str


def to_weight_g(name: str) -> str:
  """Returns the name in the form with `weight_g` and `weight_v`."""
  for old, new in _NEW.items():
    if name.endswith(new):
      return name.removesuffix(new) + old
  return name


def from_weight_g(name: str, weight_norm: str) -> str:
  """Undoes `to_weight_g`, given which of the two forms to return."""
  if weight_norm == PARAMETRIZATIONS:
    for old, new in _NEW.items():
      if name.endswith(old):
        return name.removesuffix(old) + new
  return name


def detect(names: Iterable[str]) -> str:
  """Tells which form a state dict has; that of the originals if it has no norms."""
  newer = any(name.endswith(tuple(_NEW.values())) for name in names)
  return PARAMETRIZATIONS if newer else WEIGHT_G


def fold(name: str) -> Folded | None:
  """Returns the names without weight norm for `x.weight_v`; None for another name."""
  if not name.endswith(".weight_v"):
    return None
  root = name.removesuffix("_v")
  return Folded(root, f"{root}_g")


def unfold(name: str) -> tuple[str, str] | None:
  """Returns the names of direction and norm for `x.weight`; None for another name."""
  return (f"{name}_v", f"{name}_g") if name.endswith(".weight") else None
