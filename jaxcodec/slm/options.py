"""Options of drawing that a compiled program is given each time it runs.

Whoever looks for a temperature tries several. If each of them were part of the program,
each would be compiled anew, for many seconds.
"""

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def given_when_run(**off: float) -> Callable[[type[T]], type[T]]:
  """Makes a dataclass of options an argument of jitted functions, in whole.

  The named numbers are arrays inside, unless they are off: then they are what they were
  outside, and `is_set` is false. All other fields, and which numbers are off, a program
  is compiled for. Fields are checked where the object is made, not again inside.

  Args:
    off: for each number the value at which the option does nothing.
  """

  def register(cls: type[T]) -> type[T]:
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    fixed = [name for name in names if name not in off]

    def flatten(options):
      values = {name: getattr(options, name) for name in names}
      given = [values[n] if is_set(values[n], off[n]) else None for n in off]
      return given, tuple(values[name] for name in fixed)

    def unflatten(values, given):
      fields = dict(zip(fixed, values, strict=True))
      for (name, nothing), number in zip(off.items(), given, strict=True):
        fields[name] = nothing if number is None else number
      options = object.__new__(cls)
      for name, value in fields.items():
        object.__setattr__(options, name, value)
      return options

    jax.tree_util.register_pytree_node(cls, flatten, unflatten)
    return cls

  return register


def is_set(value: Any, off: float) -> bool:
  """Whether an option is other than `off`; a number given when run always is."""
  return not isinstance(value, numbers.Real) or value != off
