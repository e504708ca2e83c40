"""Codes coded under a model that learns from the codes before them, in integers.

A code of n bits is n decisions, from the highest bit: a path in a binary tree, whose
node is numbered 1 at the root, and 2 * node + bit below. Each decision is predicted
from counts at that node in four contexts of the codebook k:

- none (order 0);
- its code in the frame before;
- the code of codebook k - 1 in the same frame; for k = 0 that of the last codebook in
  the frame before;
- these two (order 2).

Their logits are added with weights, a set for each codebook, which are trained online
on the cost of every decision, by gradient descent (Mahoney's logistic mixing, "Adaptive
weighing of context models for lossless data compression", 2005). The clips of a file
follow each other, and what was learned from one serves the next; at a clip's beginning
codes before it count as 2 ** n, which no code is.

`docs/token_file.md` defines it to the bit.
"""

from array import array
from collections.abc import Sequence

import numpy as np

from jaxcodec.coding import bits
from jaxcodec.coding.bits import Coder
from jaxcodec.coding.logistic import LIMIT, LOGIT, PROBABILITY

# The contexts' first weights, in 65536ths, in the order above.
_WEIGHTS = (26_214, 19_661, 19_661, 13_107)
_LEAST, _MOST = 10, 22  # logarithms of how many slots a context's table has
_UNSEEN = 32_768 << 8  # a slot: probability of a one, and how many decisions it saw
_SEEN = (*range(1, 256), 255)  # the count that follows a count
_RATES = tuple((1 << 17) // (2 * seen + 3) for seen in range(256))
_MIX, _SPREAD, _WORD = 0x9E3779B1, 0x85EBCA6B, 0xFFFFFFFF  # of the hash, 32 bits


def encode(clips: Sequence[np.ndarray], num_bits: int) -> bytes:
  """Codes clips in as few bits as the model gets by with.

  Args:
    clips: codes (T, K) of each, below 2 ** num_bits.
    num_bits: of a code.
  """
  out = bytearray()
  coder, finish = bits.writer(out)
  K = clips[0].shape[1]
  model = _Model(K, num_bits, K * sum(map(len, clips)))
  for codes_TxK in clips:
    model.code_clip(coder, len(codes_TxK), codes_TxK.tolist())
  finish()
  return bytes(out)


def decode(
  data: bytes, frames: Sequence[int], num_codebooks: int, num_bits: int
) -> list[np.ndarray]:
  """Undoes `encode`: returns codes (T, K) of each clip, int32.

  Args:
    data: what `encode` returned.
    frames: T of each clip.
    num_codebooks: K.
    num_bits: of a code.

  Raises:
    ValueError: the data are shorter or longer than these clips.
  """
  coder, finish = bits.reader(data)
  model = _Model(num_codebooks, num_bits, num_codebooks * sum(frames))
  clips = [np.array(model.code_clip(coder, T), np.int32) for T in frames]
  finish()
  return clips


class _Model:
  """What was learned of the codes so far.

  Attributes:
    tables: slots of each context.
    weights: of the contexts, a list for each codebook.
  """

  def __init__(self, num_codebooks: int, num_bits: int, num_codes: int):
    size = min(max((2 * num_codes * num_bits - 1).bit_length(), _LEAST), _MOST)
    self._drop, self._num_bits = 32 - size, num_bits
    self._none = 1 << num_bits  # stands for codes before a clip
    self.tables = [array("I", [_UNSEEN]) * (1 << size) for _ in _WEIGHTS]
    self.weights = [list(_WEIGHTS) for _ in range(num_codebooks)]

  def code_clip(
    self, coder: Coder, T: int, codes_TxK: list[list[int]] | None = None
  ) -> list[list[int]]:
    """Writes a clip's codes, or reads them where they are None; returns them."""
    before = [self._none] * len(self.weights)
    clip = []
    for t in range(T):
      frame, last = [], before[-1]
      for k, same in enumerate(before):
        code = None if codes_TxK is None else codes_TxK[t][k]
        last = self._code(coder, k, self._contexts(k, same, last), code)
        frame.append(last)
      clip.append(frame)
      before = frame
    return clip

  def _contexts(self, k: int, same: int, last: int) -> list[int]:
    """Returns the hashes of the contexts of a code of codebook k.

    `same` is this codebook's code in the frame before, `last` the code before this.
    """
    size = self._none + 1
    by_time, by_depth = k * size + same, k * size + last
    both = by_time * size + last
    return [number * _MIX & _WORD for number in (k, by_time, by_depth, both)]

  def _code(self, coder: Coder, k: int, contexts: list[int], code: int | None) -> int:
    """Writes one code, or reads it where it is None; returns it."""
    tables, weights, drop = self.tables, self.weights[k], self._drop
    node = 1
    for shift in range(self._num_bits - 1, -1, -1):
      spread = node * _SPREAD
      at = [(context + spread & _WORD) >> drop for context in contexts]
      slots = [table[i] for table, i in zip(tables, at)]  # noqa: B905
      logits = [LOGIT[slot >> 12] for slot in slots]
      total = sum([w * x for w, x in zip(weights, logits)]) >> 16  # noqa: B905
      probability = PROBABILITY[max(-LIMIT, min(LIMIT, total)) + LIMIT]
      bit = coder(None if code is None else code >> shift & 1, probability)
      target = bit << 16
      error = target - probability
      for i, slot in enumerate(slots):
        weights[i] += error * logits[i] + (1 << 14) >> 15
        seen, p = slot & 255, slot >> 8
        p += (target - p) * _RATES[seen] >> 16  # ever more slowly
        tables[i][at[i]] = p << 8 | _SEEN[seen]
      node = node << 1 | bit
    return node - self._none
