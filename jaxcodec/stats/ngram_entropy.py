"""How well codes are predicted by their contexts: held-out cross-entropy of n-grams."""

from collections.abc import Sequence

import numpy as np

Sequences = Sequence[np.ndarray]


def held_out_bits(
  train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], size: int
) -> float:
  """Returns the cross-entropy of held-out symbols by training counts, bits per symbol.

  It is an upper bound on the conditional entropy. The entropy of the counts themselves
  is too low for large codebooks, as it falls with the number of contexts.

  Args:
    train, held_out, size: see `surprisals`.
  """
  return float(surprisals(train, held_out, size).mean())


def surprisals(
  train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], size: int
) -> np.ndarray:
  """Returns minus log2 of each held-out symbol's probability by training counts, (n,).

  Probabilities are interpolated from long contexts to short ones to uniform, by Witten
  and Bell.

  Args:
    train: the symbols (n,), then their contexts (n,) from short to long, all integers
      from 0. Symbols with different short contexts must have different long ones.
    held_out: the same of other data.
    size: the number of symbols.

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
    probability = _interpolate(context, symbols, asked, wanted, size, probability)
  return -np.log2(probability)


def _interpolate(context, symbols, asked, wanted, size, shorter) -> np.ndarray:
  """Returns (count(h, w) + kinds(h) shorter) / (count(h) + kinds(h)) for history h.

  `kinds(h)` is the number of different symbols after h, `shorter` the probability given
  the shorter context, which is returned for an unseen h.
  """
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
  """Returns the values of the wanted keys, 0 for unknown ones; keys are sorted."""
  places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
  return np.where(keys[places] == wanted, values[places], 0)


def ngrams(sequences: Sequences, size: int, order: int) -> list[np.ndarray]:
  """Returns symbols and their contexts of up to `order` - 1, for `held_out_bits`.

  At a sequence's start, contexts are padded by a symbol of their own.

  Args:
    sequences: symbols (T,) of each sequence, integers from 0 below `size`.
    size: the number of symbols.
    order: of the n-grams.
  """
  columns = [np.concatenate(sequences).astype(np.int64)]
  context = np.zeros(len(columns[0]), np.int64)
  for back in range(1, order):
    before = np.concatenate([_delay(s, back, size) for s in sequences])
    context = context * (size + 1) + before
    columns.append(context)
  return columns


def _delay(sequence_T, back: int, start: int) -> np.ndarray:
  """Returns what stands `back` symbols before each symbol, (T,)."""
  delayed_T = np.full(len(sequence_T), start, np.int64)
  delayed_T[back:] = sequence_T[: max(0, len(sequence_T) - back)]
  return delayed_T
