"""Batches made in other processes; saved positions don't depend on how many."""

from typing import Any

import grain
from absl import flags

# Batches that each process keeps ready.
_BUFFER = 2


class WorkerBatches:
  """Elements of a dataset, in its order, made by `workers` processes.

  An iterator's position is that of the dataset itself: a run that was saved with some
  workers resumes with any other number, or with none.

  Args:
    dataset: batches by number; pickled to every worker.
    workers: processes, above 0.
  """

  def __init__(self, dataset: grain.MapDataset, workers: int):
    self._dataset, self._workers = dataset, workers

  def __iter__(self) -> "_WorkerIterator":
    return _WorkerIterator(self._dataset, self._workers)


class _WorkerIterator:
  def __init__(self, dataset, workers):
    self._dataset, self._workers = dataset, workers
    self._next, self._others = 0, None

  def __iter__(self):
    return self

  def __next__(self) -> Any:
    # The first batch is made here: a look at the data starts no process, and processes
    # start while training compiles.
    if self._others is None:
      element = self._dataset[self._next]
      self._others = iter(())
    else:
      if not isinstance(self._others, grain.DatasetIterator):
        self._others = self._start()
      element = next(self._others)
    self._next += 1
    return element

  def _start(self):
    if not flags.FLAGS.is_parsed():  # which grain's workers require
      flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(self._workers, _BUFFER)
    # Each has a process of its own: threads would only hold more batches in memory.
    one_thread = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_BUFFER)
    rest = self._dataset[self._next :].to_iter_dataset(one_thread)
    return iter(rest.mp_prefetch(options))

  def get_state(self) -> dict[str, int]:
    return {"next_index": self._next}

  def set_state(self, state: dict[str, int]) -> None:
    if state["next_index"] != self._next:
      self.close()
      self._next = state["next_index"]

  def close(self) -> None:
    """Ends the processes; asking for another element starts new ones."""
    if isinstance(self._others, grain.DatasetIterator):
      self._others.close()
    self._others = None
