"""Stops training on SIGINT and SIGTERM: finish the step, save, exit with a code."""

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
  """A signal stopped training, after saving; `code` is 128 + its number."""

  def __init__(self, number: int, step: int):
    super().__init__(128 + number)
    self.step = step
    self.signal = signal.Signals(number)

  def __str__(self) -> str:
    return f"stopped by {self.signal.name} after step {self.step}, which is saved"


class Signals:
  """Catches SIGINT and SIGTERM once, for the loop to act on between steps.

  Attributes:
    number: the signal's, None before one arrives.
  """

  def __init__(self) -> None:
    self.number: int | None = None
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> "Signals":
    # Only the main thread may set handlers; in another one the program's own stay.
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM):
        self._previous[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *exception: Any) -> None:
    self._restore()

  def _note(self, number: int, frame: types.FrameType | None) -> None:
    self.number = number
    self._restore()
    name = signal.Signals(number).name
    text = f"\n{name}: saving after this step; once more to stop at once\n"
    os.write(2, text.encode())  # `print` isn't reentrant: the signal may be inside one

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)


class Agreement:
  """Spreads a signal from one process to all, so that all stop at the same step.

  All processes call it once a step. It returns what was passed at the call before: the
  exchange has finished by then, so nobody waits for it.
  """

  def __init__(self) -> None:
    everywhere = Mesh(np.array(jax.devices()), "all")
    self._spread = NamedSharding(everywhere, PartitionSpec("all"))
    self._largest = jax.jit(
      jnp.max, out_shardings=NamedSharding(everywhere, PartitionSpec())
    )
    self._previous: jax.Array | None = None

  def __call__(self, number: int | None) -> int | None:
    """Returns the signal to stop for, None to go on; alone, `number` at once."""
    if jax.process_count() == 1:
      return number
    local = np.full(jax.local_device_count(), number or 0, np.int32)
    exchanged = jax.make_array_from_process_local_data(self._spread, local)
    previous, self._previous = self._previous, self._largest(exchanged)
    return None if previous is None else int(previous) or None
