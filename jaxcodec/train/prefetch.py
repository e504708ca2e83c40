"""Reads batches ahead and puts them on the devices, each with its data position."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcodec.parallel import sharding
from jaxcodec.types import Batch


class DataIterator(Protocol):
  """An iterator whose position can be read and set, as grain's can."""

  def __next__(self) -> Batch: ...

  def get_state(self) -> bytes | dict[str, Any]: ...

  def set_state(self, state: bytes | dict[str, Any]) -> None: ...


class Fetched(NamedTuple):
  """One batch.

  Attributes:
    arrays: on the devices.
    index_B: the examples' ids, on the host; None if the batch has none.
    position: of the data after this batch; see `read_position`.
  """

  arrays: dict[str, jax.Array]
  index_B: np.ndarray | None
  position: str


def open_data(data: Iterable[Batch]) -> DataIterator:
  """Returns an iterator over `data` whose position can be saved.

  Raises:
    TypeError: if its position can't be read and set.
  """
  iterator = iter(data)
  for method in ("get_state", "set_state"):
    if not hasattr(iterator, method):
      raise TypeError(
        f"training data must give iterators with {method}(), as grain's do, so that"
        f" training can resume; got {type(iterator).__name__}"
      )
  return iterator


def read_position(iterator: DataIterator) -> str:
  """Returns the position as JSON text: what `get_state` returns may change later."""
  state = iterator.get_state()
  if isinstance(state, bytes):
    return json.dumps({"bytes": state.decode("latin-1")})  # any byte is a character
  return json.dumps({"tree": state})


def set_position(iterator: DataIterator, position: str) -> None:
  """Moves the iterator to where `read_position` was called."""
  record = json.loads(position)
  if "bytes" in record:
    iterator.set_state(record["bytes"].encode("latin-1"))
  else:
    iterator.set_state(record["tree"])


class Prefetch(contextlib.AbstractContextManager):
  """Reads `data` and puts it on the devices, two batches ahead, in a thread.

  The iterator runs ahead of training, so each batch carries its own position: a
  checkpoint must hold that of the last batch that was trained on.

  Attributes:
    wait_seconds: that `get` has blocked, in total.
  """

  def __init__(self, iterator: DataIterator, mesh: Mesh):
    self.wait_seconds = 0.0
    self._iterator, self._mesh = iterator, mesh
    # One batch waits in the queue, one in the thread.
    self._queue: queue.Queue[Fetched | BaseException] = queue.Queue(maxsize=1)
    self._closed = threading.Event()
    self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

  def __enter__(self) -> "Prefetch":
    self._thread.start()
    return self

  def __exit__(self, *exception: Any) -> None:
    self._closed.set()
    self._thread.join()
    if hasattr(self._iterator, "close"):  # grain's with worker processes
      self._iterator.close()

  def get(self) -> Fetched:
    """Returns the next batch; raises here what reading it raised in the thread.

    Raises:
      ValueError: at the end of the data.
    """
    start = time.monotonic()
    item = self._queue.get()
    self.wait_seconds += time.monotonic() - start
    if isinstance(item, StopIteration):
      raise ValueError("the training data ended: they must repeat without end")
    if isinstance(item, BaseException):
      raise item
    return item

  def _run(self) -> None:
    try:
      while self._offer(self._fetch()):
        pass
    except BaseException as error:  # handed to the training thread
      self._offer(error)

  def _fetch(self) -> Fetched:
    batch = next(self._iterator)
    index_B = np.asarray(batch["index_B"]) if "index_B" in batch else None
    position = read_position(self._iterator)
    return Fetched(sharding.put_batch(self._mesh, batch), index_B, position)

  def _offer(self, item: Fetched | BaseException) -> bool:
    while not self._closed.is_set():
      try:
        self._queue.put(item, timeout=0.1)
        return True
      except queue.Full:
        pass
    return False
