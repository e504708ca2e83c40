"""Parts that a config chooses by name, from inside the package and from outside."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

Part = TypeVar("Part")


class Registry(Mapping[str, Part], Generic[Part]):
  """The parts that one config field can name, in the order of their registration.

  A part may be given as `"module:attribute"`, which is imported when it is first looked
  up: for what is slow to import or comes with an extra.

      QUANTIZERS = Registry("codec.quantizer.name", {"fsq": FSQ})
      QUANTIZERS.register("mine", MyQuantizer)
      QUANTIZERS.lookup(config["codec"]["quantizer"]["name"])

  Args:
    field: the config field, which errors name.
    own: the package's own parts, which nobody may replace.
    error: class of what `lookup` raises.
  """

  def __init__(
    self,
    field: str,
    own: Mapping[str, Part | str] | None = None,
    error: type[Exception] = ValueError,
  ):
    self.field = field
    self._parts: dict[str, Part | str] = dict(own or {})
    self._own, self._error = frozenset(self._parts), error

  def register(self, name: str, part: Part | str) -> None:
    """Adds a part; one of the same name is replaced, as when a notebook is run again.

    Raises:
      ValueError: the package has a part of this name.
    """
    if name in self._own:
      raise ValueError(
        f"{self.field}: jaxcodec has its own {name!r}; choose a new name"
      )
    self._parts[name] = part

  def lookup(self, name: object) -> Part:
    """The part called `name`; raises `error`, which names the field, if none is."""
    if not isinstance(name, str) or name not in self._parts:
      raise self._error(f"{self.field} must be one of {sorted(self)}, got {name!r}")
    return self[name]

  def __getitem__(self, name: str) -> Part:
    part = self._parts[name]
    if isinstance(part, str):
      module, _, attribute = part.partition(":")
      part = getattr(importlib.import_module(module), attribute)
      self._parts[name] = part
    return part

  def __contains__(self, name: object) -> bool:
    return name in self._parts  # without importing it

  def __iter__(self) -> Iterator[str]:
    return iter(self._parts)

  def __len__(self) -> int:
    return len(self._parts)
