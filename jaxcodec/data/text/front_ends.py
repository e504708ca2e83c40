"""What a text front end is, and the one way to open one by name."""

import dataclasses
import functools
import importlib
import threading
from collections.abc import Callable

from absl import logging

from jaxcodec.data.source import DataError
from jaxcodec.data.text.normalise import clauses, spoken

# In the order in which `auto` tries them.
NAMES = ("espeak", "dictionary", "characters")
# eSpeak has one state for all threads.
_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class FrontEnd:
  """Turns text into symbols, the same ones for the same text, from any thread.

  Attributes:
    name: one of `NAMES`.
    inventory: every symbol that can occur.
    speak: the symbols of one clause without punctuation.
  """

  name: str
  inventory: tuple[str, ...]
  speak: Callable[[str], list[str]]

  def symbols(self, text: str) -> list[str]:
    """Symbols of normalised text: clauses with their marks, spaces between words.

    Raises:
      DataError: the text is empty, has no words, or cannot be spoken; it shows why.
    """
    found = []
    with _LOCK:
      for clause, mark in clauses(spoken(text)):
        if said := self.speak(clause):
          found += [*([" "] if found else []), *said, *mark]
    if not found:
      raise DataError(f"the text {text!r} has no words")
    return found


@functools.cache
def front_end(name: str) -> FrontEnd:
  """The front end called `name`; `auto` is the first of `NAMES` that is installed.

  Raises:
    DataError: an unknown name, or it is not installed.
  """
  if name == "auto":
    return _first_installed()
  if name not in NAMES:
    raise DataError(f"{name!r} is unknown; known: {['auto', *NAMES]}")
  try:
    return importlib.import_module(f"jaxcodec.data.text.{name}").load()
  except ImportError as error:
    raise DataError(f"{name!r} is not installed ({error})") from error


def _first_installed():
  for name in NAMES:
    try:
      return front_end(name)
    except DataError as error:
      logging.warning("Text front end: %s; trying the next", error)
  raise AssertionError("characters need nothing")
