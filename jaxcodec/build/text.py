"""Turns `config.text`, which is optional, into the symbols of a front end."""

from jaxcodec.build.fields import Config, ConfigError, positive
from jaxcodec.data.source import DataError
from jaxcodec.data.text import Vocabulary, front_end
from jaxcodec.data.text.languages import DEFAULT


def with_front_end(config: Config) -> Config:
  """Replaces `text.front_end` of `auto` by the front end that it is on this machine.

  So records name the front end itself, never `auto`, and the language, which configs
  of earlier versions lack. A config without `text` stays as it is.

  Raises:
    ConfigError: it is not installed, or does not know the language.
  """
  if "text" not in config:
    return config
  text = {"language": DEFAULT, **config["text"]}
  if unknown := sorted(text.keys() ^ {"front_end", "language", "max_symbols"}):
    raise ConfigError(
      f"text must have front_end, language and max_symbols, see {unknown}"
    )
  positive(text, "text", "max_symbols")
  try:
    name = front_end(text["front_end"], text["language"]).name
  except DataError as error:
    raise ConfigError(str(error)) from error
  return {**config, "text": {**text, "front_end": name}}


def make_vocabulary(config: Config) -> Vocabulary | None:
  """Makes the vocabulary of `config.text`; None for a config without."""
  if "text" not in config:
    return None
  text = config["text"]
  language = text.get("language", DEFAULT)
  return Vocabulary.of(front_end(text["front_end"], language))
