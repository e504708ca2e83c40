"""Signals that ask training to stop: finish the step, save, exit with a code."""

import os
import signal
import threading
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Interrupted(SystemExit):
  """Stopped by a signal, after saving; `code` is 128 + the signal's number."""

  def __init__(self, number: int, step: int):
    super().__init__(128 + number)
    self.step = step
    self.signal = signal.Signals(number)

  def __str__(self) -> str:
    return f"stopped by {self.signal.name} after step {self.step}, which is saved"


class Signals:
  """Notes SIGINT and SIGTERM once, for the loop to act on between steps."""

  def __init__(self) -> None:
    self.number: int | None = None
    self._before: dict[int, Any] = {}

  def __enter__(self) -> "Signals":
    # Only the main thread may; in another one the program's own handling stays.
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM):
        self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    self._restore()

  def _note(self, number: int, frame: types.FrameType | None) -> None:
    self.number = number
    self._restore()
    name = signal.Signals(number).name
    text = f"\n{name}: saving after this step; once more to stop at once\n"
    os.write(2, text.encode())  # print could be interrupted by itself here

  def _restore(self) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)


class Agreement:
  """Makes a signal to one process a signal to all, at the same step.

  All processes call it once a step. What is passed comes back to all at the next call:
  the exchange is over by then, and costs no wait.
  """

  def __init__(self) -> None:
    everywhere = Mesh(np.array(jax.devices()), "all")
    self._spread = NamedSharding(everywhere, PartitionSpec("all"))
    self._largest = jax.jit(
      jnp.max, out_shardings=NamedSharding(everywhere, PartitionSpec())
    )
    self._before: jax.Array | None = None

  def __call__(self, number: int | None) -> int | None:
    """The signal to stop at, None to go on; with one process, `number` at once."""
    if jax.process_count() == 1:
      return number
    own = np.full(jax.local_device_count(), number or 0, np.int32)
    exchanged = jax.make_array_from_process_local_data(self._spread, own)
    before, self._before = self._before, self._largest(exchanged)
    return None if before is None else int(before) or None
