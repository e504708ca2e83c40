"""Languages of texts by their codes, which are those of eSpeak's voices."""

from collections.abc import Iterator

from jaxcodec.data.text import normalise, written

DEFAULT = "en-us"


def is_english(language: str) -> bool:
  """Tells whether a language is English as spoken anywhere."""
  return language.split("-")[0] == "en"


def clauses(text: str, language: str) -> Iterator[tuple[str, str]]:
  """Yields the clauses of a text with the mark that ends each, empty if none does.

  Of English, numbers and abbreviations are words by then. Of other languages numbers
  stand as they are written: only who knows the language can read them.

  Raises:
    DataError: the text is empty or has symbols that cannot be spoken.
  """
  if is_english(language):
    return normalise.clauses(normalise.spoken(text))
  return written.clauses(written.readable(text, language), language)
