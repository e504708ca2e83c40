"""Phonemes by eSpeak NG, of American English and many languages: IPA with stress.

A symbol is one code point, so that a diphthong is two and a long vowel has its length
mark for itself: unlike eSpeak's phonemes, which words borrowed from other languages
add to, code points of IPA are a closed set. Some languages add other signs to them.
"""

import logging
import re
import string
import unicodedata

from jaxcodec.data import extras
from jaxcodec.data.source import DataError
from jaxcodec.data.text.front_ends import FrontEnd
from jaxcodec.data.text.languages import DEFAULT, is_english
from jaxcodec.data.text.normalise import MARKS

_EXTENSIONS = "".join(map(chr, range(0x250, 0x2B0)))  # Unicode's block of IPA
_OTHER_LETTERS = "æðøħŋœβθχᵻᵊ"
_MODIFIERS = "ˈˌːˑʰʲʷʼ˞ˤⁿˠ"
_DIACRITICS = (
  "\u0303\u0306\u0308\u030a\u0318\u0319\u031a\u031e\u031d\u0320\u0325\u0327\u0329"
  "\u032a\u032c\u032f"
)
_IPA = _EXTENSIONS + _OTHER_LETTERS + _MODIFIERS + _DIACRITICS
_ENGLISH = (" ", *MARKS, *string.ascii_lowercase, *_IPA)
# Phonemes that eSpeak has no IPA for, tones among them, stand as eSpeak writes them. A
# hyphen is no sound.
_AS_THEY_ARE = sorted(
  set(string.digits + string.ascii_uppercase + string.punctuation) - {*MARKS, "-"}
)
_OTHERS = (*_ENGLISH, *_AS_THEY_ARE, *"εΦ\u0361\u033a\u033b")
# Languages of other scripts than Latin, Greek and Cyrillic, and those whose dictionary
# doesn't come with espeakng-loader.
_LEFT_OUT = frozenset(
  "am ar as bn bpy chr-US-Qaaa-x-west cmn cmn-latn-pinyin en-shaw fa fo gu hak he hi hy"
  " hyw ja ka kaa kn ko kok ml mr my ne or pa piqd sd shn si ta te th ti ug ur xex yue"
  "".split()
)


def load() -> FrontEnd:
  """Raises `MissingPackage` without phonemizer or espeakng-loader, both GPL-3."""
  return _speaking(DEFAULT)


def _speaking(language: str) -> FrontEnd:
  """Returns the front end of a language; raises DataError if it isn't known."""
  backends, separators = _modules()
  known = sorted(set(backends.EspeakBackend.supported_languages()) - _LEFT_OUT)
  if language not in known:
    raise DataError(
      f"text.language must be one of {', '.join(known)}, got {language!r}"
    )
  # It warns of words that are spoken as one or as several.
  logger = logging.getLogger(__name__)
  logger.setLevel(logging.ERROR)
  english = is_english(language)
  backend = backends.EspeakBackend(
    language,
    # eSpeak reads the points and commas of numbers, which other clauses have in them.
    punctuation_marks=None if english else re.compile("(?!)"),
    with_stress=True,
    language_switch="remove-flags",
    logger=logger,
  )
  separator = separators.Separator(phone="", word=" ")
  silent = "" if english else "-"

  def speak(clause):
    (phones,) = backend.phonemize([clause], separator, strip=True)
    return [s for s in unicodedata.normalize("NFD", phones) if s not in silent]

  return FrontEnd(
    "espeak",
    _ENGLISH if english else _OTHERS,
    speak,
    ("phonemizer", "espeakng-loader", *(["wetext"] if english else [])),
    language,
    _speaking,
  )


def _modules():
  """Returns phonemizer's modules of backends and separators, with eSpeak's library."""
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
  return backends, separators
