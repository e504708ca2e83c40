"""The grain settings that every batch iterator here shares."""

from collections.abc import Callable, Sequence
from typing import Any

import grain

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
  """Endless shuffled batches; each epoch has a new order and new `load(index, rng)`.

  An epoch is every index once, or several times where there are few.
  The stream of elements does not depend on `shard_count`: all shards' batches one
  after another are one process's batch.
  Iterators resume exactly through `get_state` and `set_state`, and neither batches nor
  states depend on `workers`, the processes that load (0: threads of this one).
  """
  epoch = list(indices) * -(-_MIN_SHUFFLED // len(indices))
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
  """Each index once and in order; `load(-1)` fills the batches up.

  Every shard gets the same number of batches, all full.
  """
  short = -len(indices) % (batch_size * shard_count)
  dataset = grain.MapDataset.source([*indices, *([-1] * short)]).map(load)
  dataset = _batches(dataset, collate, batch_size, shard_index, shard_count)
  return dataset.to_iter_dataset(_READ)


def numbered(
  count: int, load: Callable[[int], Any], *, repeat: bool
) -> grain.IterDataset:
  """What `load(number)` makes: 0 to `count` - 1, or without end if `repeat`.

  Iterators resume exactly through `get_state` and `set_state`.
  """
  dataset = grain.MapDataset.range(count)
  if repeat:
    dataset = dataset.repeat()
  return dataset.map_with_index(lambda number, _: load(number)).to_iter_dataset(_READ)


def _batches(elements, collate, batch_size, shard_index, shard_count):
  """A shard's rows of each batch of all shards."""

  def batch(number):
    first = (number * shard_count + shard_index) * batch_size
    return collate([elements[first + row] for row in range(batch_size)])

  count = len(elements) // (batch_size * shard_count)
  return grain.MapDataset.range(count).map(batch)
