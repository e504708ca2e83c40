"""Texts in other languages than English, cut into clauses as they are written.

No grammars are at hand that say numbers and units in them as `normalise` does in
English, so these reach the front end as digits and signs. A clause must not end at the
comma of 12,50 or at the point of 1.000 or `Sr.`, therefore.
"""

import re
import string
import unicodedata
from collections.abc import Iterator

from jaxcodec.data.source import DataError
from jaxcodec.data.text.normalise import MARKS, check_symbols, plain_marks
from jaxcodec.data.text.rewrites import drop_invisible

# What languages are written in; the others in Latin letters.
_SCRIPTS = {
  **dict.fromkeys("ba be bg cv kk ky mk ru sr tt uk".split(), "CYRILLIC"),
  **dict.fromkeys("el grc".split(), "GREEK"),
}
_READABLE = frozenset(string.printable + "£€¥°§ºª²³¼½¾")
# Before and after what they mark: nobody hears them.
_OPENING = str.maketrans("", "", "¿¡")
# What is said for words with a point, which eSpeak would mostly spell. A space in them
# may be left out.
_ABBREVIATIONS = {
  "de": {
    "Dr.": "Doktor",
    "Prof.": "Professor",
    "Hr.": "Herr",
    "Fr.": "Frau",
    "St.": "Sankt",
    "Nr.": "Nummer",
    "Mio.": "Millionen",
    "Mrd.": "Milliarden",
    "bzw.": "beziehungsweise",
    "ca.": "zirka",
    "d. h.": "das heißt",
    "u. a.": "unter anderem",
    "usw.": "und so weiter",
    "vgl.": "vergleiche",
    "z. B.": "zum Beispiel",
  },
  "es": {
    "Dr.": "doctor",
    "Dra.": "doctora",
    "Sr.": "señor",
    "Sra.": "señora",
    "Srta.": "señorita",
    "Ud.": "usted",
    "Uds.": "ustedes",
    "EE. UU.": "Estados Unidos",
    "n.º": "número",
    "núm.": "número",
    "p. ej.": "por ejemplo",
    "pág.": "página",
  },
}
# eSpeak takes a number with a point for an ordinal before a small letter alone.
_GERMAN_DATE = re.compile(
  r"\b(\d\d?\.) ?(Januar|Februar|März|April|Mai|Ju[nl]i|August|September|Oktober"
  r"|November|Dezember)\b"
)
_ORDINAL_SIGN = re.compile(r"(?<=\d)\.(?=[ºª])")  # as in 1.º, which eSpeak knows as 1º
_MARK = re.compile(f"[{MARKS}]")
_INITIAL = re.compile(r"\b[^\W\d_]$")


def readable(text: str, language: str) -> str:
  """Returns a text in plain signs, with abbreviations as words.

  Raises:
    DataError: the text is empty or has symbols that cannot be spoken.
  """
  visible = drop_invisible(unicodedata.normalize("NFC", text))
  plain = plain_marks(visible.translate(_OPENING))
  if not plain:
    raise DataError("the text is empty")
  name = language.split("-")[0]
  check_symbols(plain, text, _READABLE, _SCRIPTS.get(name, "LATIN"))
  for short, words in abbreviations(language).items():
    plain = _pattern(short).sub(lambda found: _said(found, words), plain)  # noqa: B023
  plain = _ORDINAL_SIGN.sub("", plain)
  if name == "de":
    plain = _GERMAN_DATE.sub(lambda found: f"{found[1]} {found[2].lower()}", plain)
  return plain


def abbreviations(language: str) -> dict[str, str]:
  """Returns what is said for the abbreviations of a language that are known here."""
  return _ABBREVIATIONS.get(language.split("-")[0], {})


def clauses(plain: str, language: str) -> Iterator[tuple[str, str]]:
  """Yields pieces of `readable` text with the mark that ends each."""
  start = 0
  for found in _MARK.finditer(plain):
    if _ends_clause(found[0], plain[start : found.start()], plain[found.end() :]):
      if clause := plain[start : found.start()].strip():
        yield clause, found[0]
      start = found.end()
  if clause := plain[start:].strip():
    yield clause, ""


def _ends_clause(mark, before, after):
  """Tells whether a mark is one to pause at, and not part of a number or word."""
  if mark in ",:":
    return not (before[-1:].isdigit() and after[:1].isdigit())
  if mark != ".":
    return True
  goes_on = after.lstrip()
  if after[:1].isalnum() or goes_on[:1].islower():
    return False
  return not (goes_on and _INITIAL.search(before))


def _pattern(short):
  return re.compile(rf"\b{re.escape(short).replace(chr(92) + ' ', ' ?')}", re.I)


def _said(found, words):
  """Returns the words, and a point where one also ended the text."""
  ends = found[0].endswith(".") and found.end() == len(found.string)
  return f"{words}." if ends else words
