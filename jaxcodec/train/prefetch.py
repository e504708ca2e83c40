"""Batches on their way to the devices, each with the data position after it."""

import json
import queue
import threading
import time
import types
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcodec.parallel import sharding
from jaxcodec.types import Batch


class DataIterator(Protocol):
  """What grain's iterators are: the position can be read and set."""

  def __next__(self) -> Batch: ...

  def get_state(self) -> bytes | dict[str, Any]: ...

  def set_state(self, state: bytes | dict[str, Any]) -> None: ...


class Fetched(NamedTuple):
  """One batch.

  Attributes:
    arrays: on the devices.
    index_B: the examples' ids, on the host, where the batch has them.
    position: of the data after this batch; see `read_position`.
  """

  arrays: dict[str, jax.Array]
  index_B: np.ndarray | None
  position: str


def open_data(data: Iterable[Batch]) -> DataIterator:
  """An iterator over `data` that can be saved.

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
  """The position as JSON text, at once: what `get_state` returns may change later."""
  state = iterator.get_state()
  if isinstance(state, bytes):
    return json.dumps({"bytes": state.decode("latin-1")})  # any byte is a character
  return json.dumps({"tree": state})


def set_position(iterator: DataIterator, position: str) -> None:
  """Goes to where `read_position` was called."""
  record = json.loads(position)
  if "bytes" in record:
    iterator.set_state(record["bytes"].encode("latin-1"))
  else:
    iterator.set_state(record["tree"])


class Prefetch:
  """Reads `data` and puts it on the devices, two batches ahead, in a thread.

  A context manager. The iterator runs ahead of training, so a checkpoint must hold the
  position of the last batch that was trained on: each batch brings its own.
  """

  def __init__(self, iterator: DataIterator, mesh: Mesh):
    self.waited = 0.0  # seconds that `get` has blocked, in all
    self._iterator, self._mesh = iterator, mesh
    # One waits in the queue, one in the thread's hands.
    self._queue: queue.Queue[Fetched | BaseException] = queue.Queue(maxsize=1)
    self._closed = threading.Event()
    self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

  def __enter__(self) -> "Prefetch":
    self._thread.start()
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    self._closed.set()
    self._thread.join()
    if hasattr(self._iterator, "close"):  # grain's with worker processes
      self._iterator.close()

  def get(self) -> Fetched:
    """The next batch.

    Raises:
      ValueError: at the end of the data. What reading them raises is raised here.
    """
    start = time.monotonic()
    item = self._queue.get()
    self.waited += time.monotonic() - start
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
