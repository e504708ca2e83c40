"""A profiler's trace of chosen training steps, for TensorBoard or Perfetto."""

import contextlib
import pathlib
from typing import Any

import jax
from absl import logging

FOLDER = "profile"


class Profile(contextlib.AbstractContextManager):
  """Traces the steps from `first` to `last` into `folder`/profile.

  Leaving the context ends a trace under way, also on an exception.
  """

  def __init__(self, folder: pathlib.Path, steps: tuple[int, int] | None):
    """Traces nothing yet.

    Args:
      folder: of the run.
      steps: (first, last), numbers from 1; None traces nothing.

    Raises:
      ValueError: `steps` aren't two numbers in order.
    """
    if steps is not None and (len(steps) != 2 or not 1 <= steps[0] <= steps[1]):
      raise ValueError(
        f"profile_steps must be (first, last) with 1 <= first <= last, got {steps}"
      )
    self._first, self._last = steps or (0, 0)
    self._folder, self._running = folder / FOLDER, False

  def __exit__(self, *exception: Any) -> None:
    self._stop()

  def before(self, step: int) -> None:
    """Must be called before step number `step`; starts the trace at the first."""
    if step == self._first:
      self._running = True
      jax.profiler.start_trace(str(self._folder))

  def after(self, step: int, result: Any) -> None:
    """Must be called with the result of step number `step`; ends the trace."""
    if self._running and step == self._last:
      jax.block_until_ready(result)
      self._stop()

  def _stop(self) -> None:
    if self._running:
      self._running = False
      jax.profiler.stop_trace()
      logging.info("steps %d to %d traced: %s", self._first, self._last, self._folder)
