"""Cuts long texts into pieces that a language model was trained to speak."""

import functools
import re
from collections.abc import Callable, Iterator

from jaxcodec.data.source import DataError
from jaxcodec.data.text import written
from jaxcodec.data.text.languages import DEFAULT

_SENTENCE = re.compile(r"""(?<=[.!?…])["'”’)\]]*\s+(?=\S)|\s*\n\s*""")
_CLAUSE = re.compile(r"(?<=[,;:])\s+|\s+(?=[—–(])|(?<=—)\s*")
_WORD = re.compile(r"\s+")
_ORDINAL = re.compile(r"\d\.$")
# A point behind these, or behind an initial, ends no sentence.
_SHORT = set(
  "dr mr mrs ms st prof jr sr vs etc e.g i.e vol fig approx inc ltd co gen col capt"
  " lt sgt rev hon mt dept est ca cf".split()
)


def cut(text: str, fits: Callable[[str], bool], language: str = DEFAULT) -> list[str]:
  """Returns the text in as few pieces as may be, each of whole sentences.

  A sentence that doesn't fit is cut between its clauses, a clause between its words.

  Args:
    text: what is said.
    fits: tells whether a piece is short enough.
    language: whose abbreviations, beside the English ones, end no sentence.

  Raises:
    DataError: one word alone does not fit.
  """
  words = " ".join(written.abbreviations(language)).lower().replace(".", "")
  sentences = functools.partial(_sentences, short=_SHORT | set(words.split()))
  return list(_join(text, (sentences, _CLAUSE.split, _WORD.split), fits))


def _join(text, cuts, fits) -> Iterator[str]:
  if fits(text):
    yield text
    return
  if not cuts:
    raise DataError(f"the word {text!r} alone is too long")
  parts, piece = [part for part in cuts[0](text) if part], ""
  for part in parts:
    longer = f"{piece} {part}".strip()
    if _has_words(piece) and not fits(longer):
      yield piece
      longer = part
    if not fits(longer):  # then it is a part alone, or behind a mark such as a dash
      *whole, longer = _join(longer, cuts[1:], fits)
      yield from whole
    piece = longer
  if _has_words(piece):  # a mark that is left over says nothing
    yield piece


def _has_words(text):
  return any(map(str.isalnum, text))


def _sentences(text, short):
  start, found = 0, []
  for end in _SENTENCE.finditer(text):
    before, after = text[start : end.start()], text[end.end() :]
    ordinal = _ORDINAL.search(before) and after[:1].islower()
    if not ordinal and not _is_short(before, short):
      found.append(text[start : end.end()].strip())
      start = end.end()
  return [*found, text[start:].strip()]


def _is_short(sentence, short):
  """Tells whether a sentence ends in an abbreviation or initial, and so goes on."""
  word = sentence.split()[-1].lstrip("(\"'“‘") if sentence.split() else ""
  initial = len(word) == 2 and word[0].isupper()
  return word.endswith(".") and (initial or word[:-1].lower() in short)
