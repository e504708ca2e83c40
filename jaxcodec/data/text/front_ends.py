"""What a text front end is, and how a config opens one by name."""

import dataclasses
import functools
import threading
from collections.abc import Callable

from absl import logging

from jaxcodec.data.extras import MissingPackage
from jaxcodec.data.source import DataError
from jaxcodec.data.text import languages, normalise
from jaxcodec.data.text.languages import DEFAULT
from jaxcodec.registry import Registry

# eSpeak has one state for all threads.
_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class FrontEnd:
  """Turns text into symbols, the same ones for the same text, from any thread.

  Attributes:
    name: its name in `FRONT_ENDS`.
    inventory: every symbol that can occur.
    speak: gives the symbols of one clause without punctuation.
    packages: what decides the symbols, by the names on PyPI.
    language: of the texts.
    other: makes the front end of another language, or raises DataError; None where
      `language` is the only one.
  """

  name: str
  inventory: tuple[str, ...]
  speak: Callable[[str], list[str]]
  packages: tuple[str, ...] = ()
  language: str = DEFAULT
  other: "Callable[[str], FrontEnd] | None" = None

  def symbols(self, text: str) -> list[str]:
    """Returns the symbols of a text: clauses with their marks, spaces between words.

    Raises:
      DataError: the text is empty, has no words, or cannot be spoken; it shows why.
    """
    found = []
    with _LOCK:
      for clause, mark in languages.clauses(text, self.language):
        if said := self.speak(clause):
          found += [*([" "] if found else []), *said, *mark]
    if not found:
      raise DataError(f"the text {text!r} has no words")
    return found


# Functions without arguments that return a `FrontEnd`, or raise `MissingPackage`. The
# package's own are in the order in which `auto` tries them.
FRONT_ENDS: Registry[Callable[[], FrontEnd]] = Registry(
  "text.front_end",
  {
    "hibari": "jaxcodec.data.text.hibari:load",
    "espeak": "jaxcodec.data.text.espeak:load",
    "dictionary": "jaxcodec.data.text.dictionary:load",
    "characters": "jaxcodec.data.text.characters:load",
  },
  DataError,
)
OWN = tuple(FRONT_ENDS)


def front_end(name: str, language: str = DEFAULT) -> FrontEnd:
  """Returns the front end called `name` for a language.

  `auto` is the first of `OWN` installed, and eSpeak for other languages than `DEFAULT`,
  which no other of them knows.

  Raises:
    DataError: an unknown name, or (`MissingPackage`) it is not installed, or it doesn't
      know the language.
  """
  if name == "auto" and language != DEFAULT:
    name = "espeak"
  if name != "auto":
    return _load(FRONT_ENDS.lookup(name), language)
  normalise.load_grammars()  # which all of them need
  for own in OWN:
    try:
      return _load(FRONT_ENDS[own], language)
    except MissingPackage as error:
      logging.warning("%s; trying the next", error)
  raise AssertionError("characters need nothing else")


def forget() -> None:
  """Makes the next `front_end` load again, as after packages were installed."""
  _load.cache_clear()
  normalise.load_grammars.cache_clear()


@functools.cache
def _load(loader: Callable[[], FrontEnd], language: str) -> FrontEnd:
  loaded = loader()
  normalise.load_grammars()
  if language == loaded.language:
    return loaded
  if loaded.other is None:
    raise DataError(
      f"text.language: text.front_end={loaded.name!r} knows {loaded.language!r} alone,"
      f" got {language!r}; text.front_end='espeak' knows many"
    )
  return loaded.other(language)
