"""Matrix sentences, as audiology tests hearing with: five slots of ten words each.

Every word of a slot goes with every word of the others, so each of the 100,000
sentences is as likely as any other, and who hears one word can guess no other. The
form is B. Hagerman's (Scandinavian Audiology 11, 1982); the words are our own, such
as a recogniser does not take for others.
"""

import functools
import hashlib

SLOTS = (
  "Nina Oscar Judith Walter Alice Gavin Helen Thomas Bridget Marcus".split(),
  "likes brought took found washes carried throws keeps drew wanted".split(),
  "three five six seven nine ten eleven twelve twenty thirty".split(),
  "green small old yellow heavy huge dark thick brown shiny".split(),
  "spoons boats chairs gloves baskets knives coins shirts flowers vases".split(),
)
WORDS = 10
BLOCKS = WORDS ** (len(SLOTS) - 1)
_SEED = 1


def block(number: int) -> list[str]:
  """Returns ten sentences that have each word of each slot once.

  A block is a set of shifts, one for each slot but the first: its sentences take the
  first slot's words in turn and the others' at that shift, around the end. So the
  blocks have no sentence in common, and together they have all.

  Args:
    number: 0 to 9,999; the shifts of neighbouring numbers have nothing in common.
  """
  shifts = [0, *map(int, f"{_order()[number]:04d}")]
  return [
    " ".join(
      words[(turn + shift) % WORDS] for words, shift in zip(SLOTS, shifts, strict=True)
    )
    + "."
    for turn in range(WORDS)
  ]


@functools.cache
def _order():
  """Returns the blocks in an order drawn by hash, the same wherever it is drawn."""
  digest = lambda number: hashlib.sha256(f"{_SEED}:{number}".encode()).digest()  # noqa: E731
  return sorted(range(BLOCKS), key=digest)
