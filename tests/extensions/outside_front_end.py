"""A text front end from outside: words are their first letters."""

import string

from jaxcodec.data.text.front_ends import FRONT_ENDS, FrontEnd
from jaxcodec.data.text.normalise import MARKS


def load():
  """Returns the front end."""
  return FrontEnd("initials", (" ", *MARKS, *string.ascii_lowercase), _spell)


def _spell(clause):
  return list(" ".join(word[0] for word in clause.lower().split()))


FRONT_ENDS.register("initials", load)
