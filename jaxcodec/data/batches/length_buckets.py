"""Buckets of utterances of similar length, so that batches have little padding."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from absl import logging

from jaxcodec.data.source import DataError
from jaxcodec.data.token_store import TokenSource

# Padded lengths are multiples of this.
_FRAME_STEP = 8


@dataclasses.dataclass(frozen=True)
class Bucket:
  """One shape of batches and the records that come in it.

  Attributes:
    frames: T, to which every record is padded.
    symbols: S, of the longest text.
    rows: B, including empty rows that fill a batch up.
    members: indices of the records.
  """

  frames: int
  symbols: int
  rows: int
  members: tuple[int, ...]


def make_buckets(
  source: TokenSource,
  indices: Sequence[int] | None = None,
  *,
  budget: int,
  max_frames: int,
  num_buckets: int,
  rows_multiple: int = 1,
) -> list[Bucket]:
  """Returns at most `num_buckets` buckets with about equally many records.

  Records longer than `max_frames` and those without the ids of a text are left out; the
  log says how many, and the shapes.

  Args:
    source: whose records have `text_S`.
    indices: of the records to use; all if None.
    budget: the most frames of a batch, rows times padded length.
    max_frames: the longest record to use.
    num_buckets: more of them mean less padding, and a program to compile for each.
    rows_multiple: rows of a batch are a multiple of it: the devices that share one.

  Raises:
    DataError: no record is left, or the budget is too small for the longest.
  """
  labels = source.labels
  chosen = list(range(len(labels)) if indices is None else indices)
  with_text = [i for i in chosen if "symbols" in labels[i]]
  usable = [i for i in with_text if labels[i]["frames"] <= max_frames]
  if not usable:
    raise DataError(
      f"{source.path}: of {len(chosen)} records, {len(with_text)} have a text and none"
      f" of them has at most {max_frames} frames"
    )
  padded = np.array([padded_frames(labels[i]["frames"]) for i in usable])
  edges = _edges(padded, num_buckets)
  bucket_of = np.searchsorted(edges, padded)
  buckets = []
  for number, frames in enumerate(edges.tolist()):
    members = tuple(np.array(usable)[bucket_of == number].tolist())
    symbols = max(labels[i]["symbols"] for i in members)
    rows = _rows(source, frames, len(members), budget, rows_multiple)
    buckets.append(Bucket(frames, symbols, rows, members))
  _log(source, buckets, len(with_text) - len(usable), len(chosen) - len(with_text))
  return buckets


def padded_frames(frames: int) -> int:
  """Returns the length that a record of so many frames is padded to at least."""
  return -(-frames // _FRAME_STEP) * _FRAME_STEP


class Plan:
  """Assigns records to batches: `plan[n]` is batch n of an endless series.

  `len(plan)` batches are an epoch and have every record once; the batches of a bucket
  differ by at most one record in size.
  """

  def __init__(self, buckets: Sequence[Bucket], seed: int):
    self._buckets, self._seed = buckets, seed
    # Batches are asked for ahead, so two epochs can be in use at a time.
    self._epoch = functools.lru_cache(maxsize=2)(self._make_epoch)
    self._length = len(self._epoch(0))

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, number: int) -> tuple[Bucket, np.ndarray]:
    """Returns the bucket of batch `number` and its records, -1 for empty rows."""
    epoch, step = divmod(number, self._length)
    return self._epoch(epoch)[step]

  def _make_epoch(self, epoch):
    rng = np.random.default_rng((self._seed, epoch))
    batches = []
    for bucket in self._buckets:
      order = rng.permutation(bucket.members)
      for part in np.array_split(order, -(-len(order) // bucket.rows)):
        fill = np.full(bucket.rows - len(part), -1)
        batches.append((bucket, np.concatenate([part, fill])))
    return [batches[i] for i in rng.permutation(len(batches))]


def _edges(padded, num_buckets):
  """Returns padded lengths that part the sorted ones into equally large groups."""
  last = np.ceil(len(padded) * np.arange(1, num_buckets + 1) / num_buckets) - 1
  return np.unique(np.sort(padded)[last.astype(int)])


def _rows(source, frames, members, budget, multiple):
  rows = budget // (frames * multiple) * multiple
  if not rows:
    raise DataError(
      f"{source.path}: a batch of {budget} frames cannot hold {multiple} rows of"
      f" {frames}; allow more frames in a batch or fewer in an utterance"
    )
  # As many batches as with full ones, but of about equal size.
  fair = math.ceil(members / math.ceil(members / rows))
  return math.ceil(fair / multiple) * multiple


def _log(source, buckets, too_long, without_text):
  frames = sum(bucket.frames * len(bucket.members) for bucket in buckets)
  used = sum(source.labels[i]["frames"] for one in buckets for i in one.members)
  logging.info(
    "%s: %d shapes of batches (rows x frames x symbols: %s), %.0f %% of the frames are"
    " padding; left out: %d too long, %d without text",
    source.path,
    len(buckets),
    ", ".join(f"{one.rows} x {one.frames} x {one.symbols}" for one in buckets),
    100 * (1 - used / frames),
    too_long,
    without_text,
  )
