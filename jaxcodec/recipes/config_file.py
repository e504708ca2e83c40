"""An experiment's config from its file, as launch/main.py has it."""

import ast
import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Any


def load(config: str, changes: Sequence[str] = ()) -> Any:
  """The config of FILE or FILE:ARGUMENT, with some of its fields set.

  Args:
    config: as after launch/main.py's `--config=`.
    changes: FIELD=VALUE each, e.g. `data.path=DIR`.

  Raises:
    FileNotFoundError, ValueError: naming the file or field.
  """
  name, _, argument = config.partition(":")
  path = pathlib.Path(name)
  if not path.is_file():
    raise FileNotFoundError(f"no config at {path}")
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise ValueError(f"{path} has no get_config")
  found = module.get_config(argument).lock()
  for change in changes:
    field, _, text = change.partition("=")
    try:
      found.update_from_flattened_dict({field: _literal(text)})
    except (AttributeError, KeyError, TypeError) as error:
      raise ValueError(f"--set {change}: {error}") from error
  return found


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return text
