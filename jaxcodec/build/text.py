"""Turns `config.text`, which is optional, into the symbols of a front end."""

from jaxcodec.build.fields import Config, ConfigError, positive
from jaxcodec.data.source import DataError
from jaxcodec.data.text import Vocabulary, front_end


def with_front_end(config: Config) -> Config:
  """Replaces `text.front_end` of `auto` by the front end that it is on this machine.

  So records name the front end itself, never `auto`. A config without `text` stays as
  it is.

  Raises:
    ConfigError: it is not installed.
  """
  if "text" not in config:
    return config
  text = config["text"]
  if unknown := sorted(text.keys() ^ {"front_end", "max_symbols"}):
    raise ConfigError(f"text must have front_end and max_symbols, see {unknown}")
  positive(text, "text", "max_symbols")
  try:
    name = front_end(text["front_end"]).name
  except DataError as error:
    raise ConfigError(str(error)) from error
  return {**config, "text": {**text, "front_end": name}}


def make_vocabulary(config: Config) -> Vocabulary | None:
  """Makes the vocabulary of `config.text`; None for a config without."""
  if "text" not in config:
    return None
  return Vocabulary.of(front_end(config["text"]["front_end"]))
