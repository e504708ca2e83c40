"""The first thing that is done with a config: code from outside, and what `auto` is."""

import importlib

from jaxcodec.build.fields import Config, ConfigError
from jaxcodec.build.text import with_front_end


def resolve(config: Config) -> Config:
  """Imports the modules of `config.imports`, and writes out the text front end.

  Returns:
    The config with the front end that `auto` is on this machine.

  Raises:
    ConfigError: a module, or the text front end, is not there.
  """
  import_modules(config)
  return with_front_end(config)


def import_modules(config: Config) -> None:
  """Imports the modules of `config.imports`, a field that may be missing.

  They register parts that the other fields name, such as
  `build.codec.QUANTIZERS.register("mine", Mine)`.

  Raises:
    ConfigError: a module is not there.
  """
  names = config.get("imports", ())
  if isinstance(names, str):
    raise ConfigError(f"imports must be a tuple of modules' names, got {names!r}")
  for name in names:
    try:
      importlib.import_module(name)
    except ImportError as error:
      raise ConfigError(
        f"imports: {name!r} cannot be imported ({error}): is it installed, or in a"
        " folder of PYTHONPATH?"
      ) from error
