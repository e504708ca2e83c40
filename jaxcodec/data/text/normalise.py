"""Turns written English into words: numbers, dates, money, abbreviations."""

import functools
import re
import string
import unicodedata
from collections.abc import Callable, Iterator

from jaxcodec.data import extras
from jaxcodec.data.source import DataError
from jaxcodec.data.text.rewrites import rewrite

MARKS = ",.;:!?"
_READABLE = frozenset(string.printable + "£€¥°")
_SPOKEN = frozenset(f"{MARKS}'- ")
# Quotes are not heard; brackets and dashes are pauses.
_TYPOGRAPHY = str.maketrans(
  {
    **dict.fromkeys("‘’ʼ`´", "'"),
    **dict.fromkeys('"“”„«»', ""),
    **dict.fromkeys("()[]{}—", ", "),
    "–": "-",
    "…": ".",
  }
)
_DASH = re.compile(r"\s-+\s|--+")
# The grammars read 1990s as seconds, and leave out the "one" of 1,234.
_DECADE = re.compile(r"(\d{3}0)s\b")
_THOUSAND = re.compile(r"(?<![\d.,$£€¥])1,(\d{3})(?![.,]?\d)")
_CAPITALS = re.compile(r"[A-Z]{2}")
_CLAUSE = re.compile(rf"([^{MARKS}]+)([{MARKS}]?)")


def spoken(text: str) -> str:
  """Returns the words of `text` and their punctuation.

  Numbers, dates, money, units and abbreviations become words by WeTextProcessing's
  English grammars; what comes out is letters, `'`, `-`, spaces and `MARKS`.

  Raises:
    DataError: the text is empty or has symbols that cannot be spoken.
  """
  plain = plain_marks(rewrite(_lowered(unicodedata.normalize("NFC", text))))
  if not plain:
    raise DataError("the text is empty")
  check_symbols(plain, text, _READABLE)
  try:
    words = load_grammars()(_THOUSAND.sub(_thousand, _DECADE.sub(r"\1's", plain)))
  except AssertionError as error:  # the grammars know no reading
    raise DataError(f"cannot read the numbers in the text {text!r}") from error
  check_symbols(words, text, _SPOKEN)
  return words


def _lowered(text: str) -> str:
  """Returns a text all in capitals, as LibriSpeech has them, in small letters.

  Front ends stress capitals, and spell out those that they don't know as words.
  """
  is_shouted = text.upper() == text and _CAPITALS.search(text) and " " in text
  return text.lower() if is_shouted else text


def plain_marks(text: str) -> str:
  """Returns a text in which quotes, brackets and dashes are what is heard of them."""
  plain = text.translate(_TYPOGRAPHY)
  return " ".join(_DASH.sub(", ", plain).split()).replace(" ,", ",")


def clauses(words: str) -> Iterator[tuple[str, str]]:
  """Yields pieces of `spoken` text with the mark that ends each, empty if none does."""
  for match in _CLAUSE.finditer(words):
    if clause := match[1].strip():
      yield clause, match[2]


def plain_letters(words: str) -> list[str]:
  """Returns lower-case words without accents and hyphens."""
  decomposed = unicodedata.normalize("NFKD", words.lower())
  letters = "".join(c for c in decomposed if not unicodedata.combining(c))
  return letters.replace("-", " ").split()


def check_symbols(
  words: str, text: str, known: frozenset[str], script: str = "LATIN"
) -> None:
  """Refuses all but known symbols and the letters of a script.

  Args:
    words: what is checked.
    text: where they come from, for the error.
    known: symbols that may occur.
    script: the first word of its letters' names in Unicode. Latin letters are
      allowed beside those of another script.

  Raises:
    DataError: naming the symbol.
  """
  for symbol in words:
    name = unicodedata.name(symbol, "a control character")
    letter = symbol.isalpha() and name.startswith((script, "LATIN"))
    if symbol not in known and not letter:
      raise DataError(f"cannot speak {symbol!r} ({name}) in the text {text!r}")


def _thousand(match):
  return f"one thousand {int(match[1]) or ''}".strip()


@functools.cache
def load_grammars() -> Callable[[str], str]:
  """Returns what speaks out numbers, dates, money and abbreviations.

  Raises:
    MissingPackage: wetext is not installed.
  """
  (wetext,) = extras.import_modules(
    "wetext", "wetext", field="text.front_end", extra="text"
  )
  return wetext.Normalizer(lang="en", operator="tn").normalize
