"""Phonemes by hibari-tts, American English, in the alphabet of the misaki project.

A symbol is one letter of that alphabet: diphthongs and affricates have one each (`A` is
the vowel of "day"), and stress is a symbol before its syllable.
"""

from jaxcodec.data import extras
from jaxcodec.data.text.front_ends import FrontEnd
from jaxcodec.data.text.normalise import MARKS

_VOWELS = "AIOWYaiuæɐɑɔəɛɜɪʊʌᵊᵻ"
_CONSONANTS = "Tbdfhjklmnpstvwyzðŋɡɹɾʃʒʔʤʧθ"
_STRESS = "ˈˌ"
_INVENTORY = (" ", *MARKS, *_VOWELS, *_CONSONANTS, *_STRESS)


def load() -> FrontEnd:
  """Raises `MissingPackage` without hibari-tts."""
  (module,) = extras.import_modules(
    "hibari-tts", "hibari.g2p", field="text.front_end='hibari'", extra="text"
  )
  spell = module.G2P()

  def speak(clause):
    # It spells quotes and signs as themselves, which nobody hears.
    return [s for s in spell(clause, normalize_text=False) if s in _INVENTORY]

  return FrontEnd("hibari", _INVENTORY, speak, ("hibari-tts", "wetext"))
