"""The grain settings that every batch iterator here shares."""

from collections.abc import Callable, Sequence
from typing import Any

import grain

# Two threads keep a few batches ready while the model computes.
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)


def endless(
  indices: Sequence[int],
  load: Callable[[int, Any], Any],
  collate: Callable[[Sequence[Any]], Any],
  *,
  batch_size: int,
  seed: int,
  shard_index: int,
  shard_count: int,
) -> grain.IterDataset:
  """Endless shuffled batches; each epoch has a new order and new `load(index, rng)`.

  The stream of elements does not depend on `shard_count`: shard s of n takes its
  elements s, s + n, ..., so all shards' batches together are one process's batch.
  Iterators resume exactly through `get_state` and `set_state`.
  """
  dataset = grain.MapDataset.source(list(indices)).seed(seed).shuffle().repeat()
  dataset = dataset.random_map(load)[shard_index::shard_count]
  dataset = dataset.batch(batch_size, drop_remainder=True, batch_fn=collate)
  return dataset.to_iter_dataset(_READ)


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
  dataset = grain.MapDataset.source([*indices, *([-1] * short)])
  dataset = dataset[shard_index::shard_count].map(load)
  return dataset.batch(batch_size, batch_fn=collate).to_iter_dataset(_READ)
