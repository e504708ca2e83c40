"""A profiler's trace of chosen training steps, for TensorBoard or Perfetto."""

import pathlib
import types
from typing import Any

import jax
from absl import logging

FOLDER = "profile"


class Profile:
  """Traces the steps from `first` to `last` into `folder`/profile.

  A context manager: a trace under way is closed on leaving, also on an exception.

  Args:
    folder: of the run.
    steps: (first, last), numbers from 1; None traces nothing.

  Raises:
    ValueError: steps that aren't two numbers in order.
  """

  def __init__(self, folder: pathlib.Path, steps: tuple[int, int] | None):
    if steps is not None and (len(steps) != 2 or not 1 <= steps[0] <= steps[1]):
      raise ValueError(
        f"profile_steps must be (first, last) with 1 <= first <= last, got {steps}"
      )
    self._first, self._last = steps or (0, 0)
    self._folder, self._running = folder / FOLDER, False

  def __enter__(self) -> "Profile":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    self._stop()

  def before(self, step: int) -> None:
    """To be called before step number `step` is started."""
    if step == self._first:
      self._running = True
      jax.profiler.start_trace(str(self._folder))

  def after(self, step: int, result: Any) -> None:
    """To be called with what step number `step` will give."""
    if self._running and step == self._last:
      jax.block_until_ready(result)
      self._stop()

  def _stop(self) -> None:
    if self._running:
      self._running = False
      jax.profiler.stop_trace()
      logging.info("steps %d to %d traced: %s", self._first, self._last, self._folder)
