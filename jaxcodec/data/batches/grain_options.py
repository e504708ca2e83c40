"""Grain's settings for every batch iterator."""

from collections.abc import Callable, Sequence
from typing import Any

import grain
import numpy as np

from jaxcodec.data.batches.workers import WorkerBatches

# Two threads keep a few batches ready while the model computes.
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
# Grain draws each shuffled index by trial out of a domain that is never small: below
# this many elements the trials take longer than everything else.
_MIN_SHUFFLED = 512


def endless(
  indices: Sequence[int],
  load: Callable[[int, Any], Any],
  collate: Callable[[Sequence[Any]], Any],
  *,
  batch_size: int,
  seed: int,
  shard_index: int,
  shard_count: int,
  workers: int = 0,
) -> grain.IterDataset | WorkerBatches:
  """Returns endless shuffled batches, in another order in every epoch.

  `load(index, rng)` makes an element and `collate` a batch of a list of them. An epoch
  has every index once, or several times where there are few. The stream of elements
  does not depend on `shard_count`: the batches of all shards, one behind the other, are
  the batch of one process. Iterators resume exactly through `get_state` and
  `set_state`. Neither batches nor states depend on `workers`, the processes that load;
  with 0, threads of this process do.
  """
  epoch = np.tile(np.asarray(indices, np.int32), -(-_MIN_SHUFFLED // len(indices)))
  dataset = grain.MapDataset.source(epoch).seed(seed).shuffle().repeat()
  dataset = dataset.random_map(load)
  dataset = _batches(dataset, collate, batch_size, shard_index, shard_count)
  return WorkerBatches(dataset, workers) if workers else dataset.to_iter_dataset(_READ)


def one_pass(
  indices: Sequence[int],
  load: Callable[[int], Any],
  collate: Callable[[Sequence[Any]], Any],
  *,
  batch_size: int,
  shard_index: int,
  shard_count: int,
) -> grain.IterDataset:
  """Returns batches of each index once and in order.

  Every shard gets the same number of batches, all full: `load(-1)` makes the elements
  that fill the last one up.
  """
  short = -len(indices) % (batch_size * shard_count)
  dataset = grain.MapDataset.source([*indices, *([-1] * short)]).map(load)
  dataset = _batches(dataset, collate, batch_size, shard_index, shard_count)
  return dataset.to_iter_dataset(_READ)


def numbered(
  count: int, load: Callable[[int], Any], *, repeat: bool
) -> grain.IterDataset:
  """Returns `load(0)` to `load(count - 1)`; numbers go on without end if `repeat`.

  Iterators resume exactly through `get_state` and `set_state`.
  """
  dataset = grain.MapDataset.range(count)
  if repeat:
    dataset = dataset.repeat()
  return dataset.map_with_index(lambda number, _: load(number)).to_iter_dataset(_READ)


def _batches(elements, collate, batch_size, shard_index, shard_count):
  """Returns a shard's rows of each batch of all shards."""

  def batch(number):
    first = (number * shard_count + shard_index) * batch_size
    return collate([elements[first + row] for row in range(batch_size)])

  count = len(elements) // (batch_size * shard_count)
  return grain.MapDataset.range(count).map(batch)
