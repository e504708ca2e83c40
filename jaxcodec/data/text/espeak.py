"""Phonemes by eSpeak NG, American English: IPA with stress.

A symbol is one code point, so that a diphthong is two and a long vowel has its length
mark for itself: unlike eSpeak's phonemes, which words borrowed from other languages
add to, code points of IPA are a closed set.
"""

import logging
import string
import unicodedata

from jaxcodec.data.text.front_ends import FrontEnd
from jaxcodec.data.text.normalise import MARKS

# The block of IPA extensions, letters from other blocks, modifiers, and diacritics.
_IPA = (
  "".join(map(chr, range(0x250, 0x2B0)))
  + "æðøħŋœβθχᵻᵊ"
  + "ˈˌːˑʰʲʷʼ˞ˤⁿˠ"
  + "".join(map(chr, (*(0x303, 0x306, 0x308, 0x30A, 0x318, 0x319), 0x31A)))
  + "".join(map(chr, (0x31E, 0x31D, 0x320, 0x325, 0x327, 0x329, 0x32A, 0x32C, 0x32F)))
)


def load() -> FrontEnd:
  import espeakng_loader
  from phonemizer.backend import EspeakBackend
  from phonemizer.backend.espeak.wrapper import EspeakWrapper
  from phonemizer.separator import Separator

  EspeakWrapper.set_library(espeakng_loader.get_library_path())
  EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
  # Its warnings are of words that are spoken as one or as several.
  logger = logging.getLogger(__name__)
  logger.setLevel(logging.ERROR)
  backend = EspeakBackend(
    "en-us",
    with_stress=True,
    language_switch="remove-flags",
    logger=logger,
  )
  separator = Separator(phone="", word=" ")

  def speak(clause):
    (phones,) = backend.phonemize([clause], separator, strip=True)
    return list(unicodedata.normalize("NFD", phones))

  return FrontEnd("espeak", (" ", *MARKS, *string.ascii_lowercase, *_IPA), speak)
