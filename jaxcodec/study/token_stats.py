"""Statistics of a codec's tokens, from the tokens stage's records."""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.data.token_store import TokenSource
from jaxcodec.stats.ngram_entropy import held_out_bits, ngrams

# Of a part: counts of three codes in a row need memory for each frame.
_MOST_FRAMES = 10_000_000
MEASURES = {
  "usage": "share of the entries that the training part uses",
  "entropy_bits": "entropy of the training part's codes, from their counts",
  "perplexity": "2 to that entropy",
  "unigram_bits": "held-out cross-entropy of a code by the training part's counts",
  "bigram_bits": "the same given the codebook's code one frame before",
  "trigram_bits": "the same given its codes one and two frames before",
  "semantic_information_bits": (
    "unigram_bits less the held-out cross-entropy given the frame's semantic token: how"
    " much of a code the semantic token tells. It stands in for mutual information with"
    " phonemes, which are not aligned with the frames"
  ),
}


class Records(NamedTuple):
  """The codes (T, K) and semantic tokens (T,) of one part's utterances."""

  codes: list[np.ndarray]
  semantic: list[np.ndarray]


def read_records(path: pathlib.Path) -> Records:
  """Reads the token records of one part, or a random choice of those of a large one.

  Raises:
    DataError: the file is missing or incomplete.
  """
  source = TokenSource(path)
  frames = np.array([label["frames"] for label in source.labels])
  order = np.arange(len(frames))
  if frames.sum() > _MOST_FRAMES:
    order = np.random.default_rng(0).permutation(order)
    order = order[np.cumsum(frames[order]) <= _MOST_FRAMES]
  records = [source[index] for index in order]
  return Records(
    [record["codes_TxK"].astype(np.int64) for record in records],
    [record["semantic_T"].astype(np.int64) for record in records],
  )


def token_statistics(train: Records, held_out: Records, size: int) -> dict[str, Any]:
  """Returns each codebook's value, coarse to fine, by a name of `MEASURES`.

  Predictions are counted on the training part and tested on the held-out part, whose
  sentences are different.

  Args:
    train: records of the training part.
    held_out: records of the held-out part.
    size: the codebooks' size.
  """
  books = range(train.codes[0].shape[1])
  rows = [_codebook(train, held_out, book, size) for book in books]
  frames = {"train": train, "held_out": held_out}
  return {
    "frames": {name: sum(map(len, part.codes)) for name, part in frames.items()},
    "codebook_size": size,
    **{name: [row[name] for row in rows] for name in MEASURES},
  }


def _codebook(train: Records, held_out: Records, book: int, size: int):
  codes, unseen = (
    [codes_TxK[:, book] for codes_TxK in part.codes] for part in (train, held_out)
  )
  counted = [ngrams(sequences, size, order=3) for sequences in (codes, unseen)]
  bits = [
    held_out_bits(*(columns[:order] for columns in counted), size)
    for order in (1, 2, 3)
  ]
  given = [
    [columns[0], np.concatenate(part.semantic)]
    for columns, part in zip(counted, (train, held_out), strict=True)
  ]
  entropy = entropy_bits(np.bincount(counted[0][0], minlength=size))
  return {
    "usage": float(np.mean(np.bincount(counted[0][0], minlength=size) > 0)),
    "entropy_bits": entropy,
    "perplexity": 2**entropy,
    **dict(zip(("unigram_bits", "bigram_bits", "trigram_bits"), bits, strict=True)),
    "semantic_information_bits": bits[0] - held_out_bits(*given, size),
  }


def entropy_bits(counts: np.ndarray) -> float:
  """Returns the entropy of a distribution given by counts, bits."""
  shares = counts[counts > 0] / counts.sum()
  return float((shares * -np.log2(shares)).sum() + 0.0)
