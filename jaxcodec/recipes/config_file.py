"""A config from its file, as launch/main.py has it."""

import importlib.util
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from jaxcodec.recipes.args import literal


def load(config: str, changes: Sequence[str] = (), option: str = "--set") -> ConfigDict:
  """Loads the config of FILE or FILE:ARGUMENT and sets some of its fields.

  Args:
    config: as after launch/main.py's `--config=`.
    changes: FIELD=VALUE each, e.g. `data.path=DIR`; a value is a Python literal, or
      else a string.
    option: where the changes come from, for errors.

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
    if not _has(found, field):
      raise ValueError(f"{option}: {field!r} is no field of {config}")
    try:
      found.update_from_flattened_dict({field: literal(text)})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(f"{option}: {change}: {error} (in {config})") from error
  return found


def _has(config: ConfigDict, field: str) -> bool:
  part = config
  for name in field.split("."):
    if not isinstance(part, ConfigDict) or name not in part:
      return False
    part = part[name]
  return True
