"""Parses what follows the colon of `--config=configs/x.py:...`, and field values."""

import ast
from typing import Any


def parse(arg: str, **defaults: Any) -> dict[str, Any]:
  """Parses `"runlocal,seed=3"`: a bare name is True, other values Python literals.

  Raises:
    ValueError: a name that `defaults` lacks, or a value of another type than there.
  """
  values = dict(defaults)
  for part in filter(None, (p.strip() for p in (arg or "").split(","))):
    name, equals, text = part.partition("=")
    if name not in defaults:
      raise ValueError(f"config argument {name!r} is unknown; known: {list(defaults)}")
    value = literal(text) if equals else True
    if type(value) is not type(defaults[name]):
      kind = type(defaults[name]).__name__
      raise ValueError(f"config argument {name} must be a {kind}, got {value!r}")
    values[name] = value
  return values


def literal(text: str) -> Any:
  """Parses a Python literal; any other text is returned as it is."""
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text
