"""Clips of any length in batches of few shapes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

_SMALLEST_FRAMES = 64


def bucket(frames: int) -> int:
  """The padded length for so many frames: the next power of two, at least 64."""
  return max(_SMALLEST_FRAMES, 1 << (frames - 1).bit_length())


def group_by_length(
  lengths: Sequence[int], batch_size: Callable[[int], int]
) -> Iterator[tuple[int, int, list[int]]]:
  """Groups items of like length, in frames.

  Yields:
    (padded frames, rows of a batch, indices of at most so many items). Few items make
    small batches; otherwise a length always has as many rows.
  """
  groups: dict[int, list[int]] = {}
  for index, length in enumerate(lengths):
    groups.setdefault(bucket(length), []).append(index)
  for padded, members in sorted(groups.items()):
    rows = min(batch_size(padded), 1 << (len(lengths) - 1).bit_length())
    for start in range(0, len(members), rows):
      yield padded, rows, members[start : start + rows]


def stack_rows(arrays, rows, length):
  """Zero-padded to (rows, length, ...)."""
  stacked = np.zeros((rows, length, *arrays[0].shape[1:]), arrays[0].dtype)
  for row, array in zip(stacked, arrays, strict=False):
    row[: len(array)] = array
  return stacked


def pad_lengths(lengths, rows):
  return np.array(lengths + [0] * (rows - len(lengths)), np.int32)


def in_order(
  each: Iterator[tuple[int, Any]],
  count: int,
  done: Callable[[int], None] | None = None,
) -> list[Any]:
  """The results of `encode_each` or `decode_each`, by index."""
  results: list[Any] = [None] * count
  for index, result in each:
    results[index] = result
    if done:
      done(1)
  return results
