"""How well a code is predicted by what stands before it: held-out cross-entropy."""

from collections.abc import Sequence

import numpy as np

Sequences = Sequence[np.ndarray]


def held_out_bits(
  train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], size: int
) -> float:
  """Bits per symbol of held-out symbols, by counts of the training ones.

  An upper bound on the conditional entropy: unlike that of the counts themselves it
  does not fall with the number of contexts, which makes it honest for large codebooks.
  Contexts back off from long to short to uniform, interpolated by Witten and Bell.

  Args:
    train: symbols (n,) and then their contexts (n,) from short to long, integers from
      0. Each must tell apart what the one before it does.
    held_out: the same of other data.
    size: how many symbols there are.

  Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for
  language modeling", section 2.4.
  """
  symbols, *contexts = train
  wanted, *seen_in = held_out
  probability = np.full(len(wanted), 1 / size)
  levels = [
    (np.zeros_like(symbols), np.zeros_like(wanted)),
    *zip(contexts, seen_in, strict=True),
  ]
  for context, asked in levels:
    probability = _interpolated(context, symbols, asked, wanted, size, probability)
  return float(-np.log2(probability).mean())


def _interpolated(context, symbols, asked, wanted, size, shorter) -> np.ndarray:
  """(count(h, w) + kinds(h) shorter) / (count(h) + kinds(h)); `shorter` of unseen h."""
  pairs, pair_counts = np.unique(context * size + symbols, return_counts=True)
  histories, history_counts = np.unique(context, return_counts=True)
  kinds = np.unique(pairs // size, return_counts=True)[1]
  both = _look_up(pairs, pair_counts, asked * size + wanted)
  total, distinct = (
    _look_up(histories, table, asked) for table in (history_counts, kinds)
  )
  mixed = (both + distinct * shorter) / np.maximum(total + distinct, 1)
  return np.where(total > 0, mixed, shorter)


def _look_up(keys, values, wanted) -> np.ndarray:
  """The value of each wanted key, 0 for those that aren't there; keys are sorted."""
  places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
  return np.where(keys[places] == wanted, values[places], 0)


def ngrams(sequences: Sequences, size: int, order: int) -> list[np.ndarray]:
  """Symbols and their contexts of 1 to `order` - 1 symbols before, for `held_out_bits`.

  Contexts don't reach over a sequence's start, which is a symbol of its own.
  """
  columns = [np.concatenate(sequences).astype(np.int64)]
  context = np.zeros(len(columns[0]), np.int64)
  for back in range(1, order):
    before = np.concatenate([_delayed(s, back, size) for s in sequences])
    context = context * (size + 1) + before
    columns.append(context)
  return columns


def _delayed(sequence_T, back: int, start: int) -> np.ndarray:
  delayed_T = np.full(len(sequence_T), start, np.int64)
  delayed_T[back:] = sequence_T[: max(0, len(sequence_T) - back)]
  return delayed_T
