"""Letters as they are written: for where no pronunciation is to be had."""

import string

from jaxcodec.data.text.front_ends import FrontEnd
from jaxcodec.data.text.normalise import MARKS, plain_letters

LETTERS = string.ascii_lowercase + "'"


def load() -> FrontEnd:
  """Returns the front end, which spells words as their letters."""
  return FrontEnd("characters", (" ", *MARKS, *LETTERS), _speak, ("wetext",))


def _speak(clause):
  return list(" ".join(plain_letters(clause)))
