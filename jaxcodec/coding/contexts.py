"""A model of codes that learns from those before them, in integers.

A code of n bits is n decisions, from the highest bit: a path in a binary tree, whose
node is numbered 1 at the root, and 2 * node + bit below. Each decision is predicted
from counts at that node in four contexts of the codebook: none, either of the code's
two neighbours, and both of these.

Their logits, and where there is one that of another model, are added with weights, a
set for each codebook, which are trained online on the cost of every decision, by
gradient descent (Mahoney's logistic mixing, "Adaptive weighing of context models for
lossless data compression", 2005).

`docs/token_file.md` defines it to the bit.
"""

from array import array
from collections.abc import Mapping, Sequence

from jaxcodec.coding.bits import Coder
from jaxcodec.coding.logistic import LIMIT, LOGIT, PROBABILITY

# The contexts' first weights, in 65536ths, in the order above.
WEIGHTS = (26_214, 19_661, 19_661, 13_107)
_LEAST, _MOST = 10, 22  # logarithms of how many slots a context's table has
_UNSEEN = 32_768 << 8  # a slot: probability of a one, and how many decisions it saw
_SEEN = (*range(1, 256), 255)  # the count that follows a count
_RATES = tuple((1 << 17) // (2 * seen + 3) for seen in range(256))
_MIX, _SPREAD, _WORD = 0x9E3779B1, 0x85EBCA6B, 0xFFFFFFFF  # of the hash, 32 bits


class Model:
  """What was learned of the codes so far.

  Args:
    num_codebooks: K.
    num_bits: n, of a code.
    num_codes: that there will be; None if nobody knows.
    weights: the first ones of a codebook: of the four contexts and, if `code` is given
      another model's logits, of these.

  Attributes:
    none: stands for a neighbour where there is no code; no code is this.
  """

  def __init__(
    self,
    num_codebooks: int,
    num_bits: int,
    num_codes: int | None,
    weights: Sequence[int] = WEIGHTS,
  ):
    size = _MOST
    if num_codes is not None:
      size = min(max((2 * num_codes * num_bits - 1).bit_length(), _LEAST), _MOST)
    self.none = 1 << num_bits
    self._drop, self._num_bits = 32 - size, num_bits
    self._tables = [array("I", [_UNSEEN]) * (1 << size) for _ in WEIGHTS]
    self._weights = [list(weights) for _ in range(num_codebooks)]

  def code(
    self,
    coder: Coder,
    k: int,
    neighbours: tuple[int, int],
    code: int | None,
    given: Mapping[int, int] | Sequence[int] = (),
  ) -> int:
    """Writes a code, or reads it where it is None; returns it.

    Args:
      coder: writes or reads decisions.
      k: the codebook.
      neighbours: two codes that were coded before, `none` where there is none.
      code: to write.
      given: another model's logits, in 256ths, by the number of the node.
    """
    tables, weights, drop = self._tables, self._weights[k], self._drop
    contexts, node = self._contexts(k, *neighbours), 1
    for shift in range(self._num_bits - 1, -1, -1):
      spread = node * _SPREAD
      at = [(context + spread & _WORD) >> drop for context in contexts]
      slots = [table[i] for table, i in zip(tables, at)]  # noqa: B905
      logits = [LOGIT[slot >> 12] for slot in slots]
      if given:
        logits.append(given[node])
      total = sum([w * x for w, x in zip(weights, logits)]) >> 16  # noqa: B905
      probability = PROBABILITY[max(-LIMIT, min(LIMIT, total)) + LIMIT]
      bit = coder(None if code is None else code >> shift & 1, probability)
      target = bit << 16
      error = target - probability
      for i, logit in enumerate(logits):
        weights[i] += error * logit + (1 << 14) >> 15
      for table, i, slot in zip(tables, at, slots):  # noqa: B905
        seen, p = slot & 255, slot >> 8
        p += (target - p) * _RATES[seen] >> 16  # ever more slowly
        table[i] = p << 8 | _SEEN[seen]
      node = node << 1 | bit
    return node - self.none

  def _contexts(self, k: int, first: int, second: int) -> list[int]:
    """Returns the hashes of the contexts of a code of codebook k."""
    size = self.none + 1
    one, other = k * size + first, k * size + second
    return [number * _MIX & _WORD for number in (k, one, other, one * size + second)]
