"""A language model of codes that is a formula; docs/token_file.md has its vector."""

import numpy as np

from jaxcodec.coding.scored import Scored


class ToyScores:
  """Value v scores -((v + 3 c + k) mod 7) / 2.

  c is the code below in the same frame; for codebook 0 that of the frame before.

  Args:
    noise: added to each score, at most so much.
    seed: of the noise.
    size: of the codebooks.
    order: of the cells of T frames and K codebooks.
  """

  frames, past, scheme = 3, 2, "toy-1"
  scale = 1  # of the scores
  fingerprint, codec_fingerprint = 16 * "c", 32 * "ab"

  def __init__(self, noise=0.0, seed=0, *, size=1024, order=None):
    self.about, self.size = {"name": "toy"}, size
    self._noise, self._order = noise, order or levels
    self._rng = np.random.default_rng(seed)

  def reveal(self, past_PxK, T):
    P, K = past_PxK.shape
    assert P <= self.past and T <= self.frames
    codes = np.concatenate([past_PxK, np.zeros((T, K), np.int32)]).tolist()
    for cells in self._order(T, K):
      rows = []
      for t, k in cells:
        before = codes[P + t - 1][0] if P + t else 0
        c = codes[P + t][k - 1] if k else before
        rows.append(self.scale * toy_scores(c, k, self.size))
      noise = self._rng.uniform(-self._noise, self._noise, (len(cells), self.size))
      found = yield Scored(cells, np.array(rows) + noise)
      for (t, k), code in zip(cells, found, strict=True):
        codes[P + t][k] = code


def toy_scores(c, k, size=1024):
  """The scores of a code of codebook k."""
  return -((np.arange(size) + 3 * c + k) % 7) / 2


def levels(T, K):
  """Codebook 0 frame by frame, then each of the others at once."""
  yield from ([(t, 0)] for t in range(T))
  yield from ([(t, k) for t in range(T)] for k in range(1, K))


def diagonals(T, K):
  """Each codebook a step later than the one below."""
  for step in range(T + K - 1):
    yield [(step - k, k) for k in range(K) if 0 <= step - k < T]
