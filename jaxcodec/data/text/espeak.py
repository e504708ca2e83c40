"""Phonemes by eSpeak NG, American English: IPA with stress.

A symbol is one code point, so that a diphthong is two and a long vowel has its length
mark for itself: unlike eSpeak's phonemes, which words borrowed from other languages
add to, code points of IPA are a closed set.
"""

import logging
import string
import unicodedata

from jaxcodec.data import extras
from jaxcodec.data.text.front_ends import FrontEnd
from jaxcodec.data.text.normalise import MARKS

_EXTENSIONS = "".join(map(chr, range(0x250, 0x2B0)))  # Unicode's block of IPA
_OTHER_LETTERS = "æðøħŋœβθχᵻᵊ"
_MODIFIERS = "ˈˌːˑʰʲʷʼ˞ˤⁿˠ"
_DIACRITICS = (
  "\u0303\u0306\u0308\u030a\u0318\u0319\u031a\u031e\u031d\u0320\u0325\u0327\u0329"
  "\u032a\u032c\u032f"
)
_IPA = _EXTENSIONS + _OTHER_LETTERS + _MODIFIERS + _DIACRITICS


def load() -> FrontEnd:
  """Raises `MissingPackage` without phonemizer or espeakng-loader, both GPL-3."""
  field = "text.front_end='espeak'"
  (library,) = extras.import_modules(
    "espeakng-loader", "espeakng_loader", field=field, extra="espeak"
  )
  backends, wrapper, separators = extras.import_modules(
    "phonemizer",
    "phonemizer.backend",
    "phonemizer.backend.espeak.wrapper",
    "phonemizer.separator",
    field=field,
    extra="espeak",
  )
  wrapper.EspeakWrapper.set_library(library.get_library_path())
  wrapper.EspeakWrapper.set_data_path(library.get_data_path())
  # It warns of words that are spoken as one or as several.
  logger = logging.getLogger(__name__)
  logger.setLevel(logging.ERROR)
  backend = backends.EspeakBackend(
    "en-us",
    with_stress=True,
    language_switch="remove-flags",
    logger=logger,
  )
  separator = separators.Separator(phone="", word=" ")

  def speak(clause):
    (phones,) = backend.phonemize([clause], separator, strip=True)
    return list(unicodedata.normalize("NFD", phones))

  inventory = (" ", *MARKS, *string.ascii_lowercase, *_IPA)
  packages = ("phonemizer", "espeakng-loader", "wetext")
  return FrontEnd("espeak", inventory, speak, packages)
