"""Batches clips of any length into few shapes, each of which is compiled once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

_SMALLEST_FRAMES = 64
# Samples in a batch, about, whatever the length of its clips.
BATCH_SAMPLES = 2**18


def bucket(frames: int) -> int:
  """Returns the padded length of so many frames: a power of two, at least 64."""
  return max(_SMALLEST_FRAMES, 1 << (frames - 1).bit_length())


def batch_rows(hop: int, samples: int = BATCH_SAMPLES) -> Callable[[int], int]:
  """Returns a function that says how many rows of so many frames make a batch."""
  return lambda frames: max(1, samples // (frames * hop))


def group_by_length(
  lengths: Sequence[int], batch_size: Callable[[int], int], multiple: int = 1
) -> Iterator[tuple[int, int, list[int]]]:
  """Groups items whose padded length is the same.

  Args:
    lengths: of the items, frames.
    batch_size: rows of a batch for a padded length; fewer if there are fewer items.
    multiple: what the number of rows is a multiple of.

  Yields:
    (padded frames, rows of the batch, indices of at most so many items).
  """
  groups: dict[int, list[int]] = {}
  for index, length in enumerate(lengths):
    groups.setdefault(bucket(length), []).append(index)
  for padded, members in sorted(groups.items()):
    rows = min(batch_size(padded), 1 << (len(lengths) - 1).bit_length())
    rows = -(-rows // multiple) * multiple
    for start in range(0, len(members), rows):
      yield padded, rows, members[start : start + rows]


def stack_rows(arrays, rows, length):
  """Stacks arrays (N, ...) to (rows, length, ...), zeros elsewhere."""
  stacked = np.zeros((rows, length, *arrays[0].shape[1:]), arrays[0].dtype)
  for row, array in zip(stacked, arrays, strict=False):
    row[: len(array)] = array
  return stacked


def pad_lengths(lengths, rows):
  """Returns the lengths as (rows,) int32; rows that only fill the batch have 0."""
  return np.array(lengths + [0] * (rows - len(lengths)), np.int32)


def in_order(
  each: Iterator[tuple[int, Any]],
  count: int,
  done: Callable[[int], None] | None = None,
) -> list[Any]:
  """Collects pairs (index, result), which come in any order, into a list by index.

  Args:
    each: as `CodecRunner.encode_each` and `decode_each` give them.
    count: how many there are.
    done: called with 1 after each.
  """
  results: list[Any] = [None] * count
  for index, result in each:
    results[index] = result
    if done:
      done(1)
  return results
