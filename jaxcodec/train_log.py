"""What training says of itself: metrics read one step late, rates, the bar."""

import contextlib
import pathlib
import time
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcodec import files
from jaxcodec.metrics_writer import MetricsWriter
from jaxcodec.prefetch import Prefetch
from jaxcodec.progress import Progress
from jaxcodec.types import Metrics

NONFINITE = "nonfinite.json"


class NonFiniteError(FloatingPointError):
  """A metric or the state became NaN or infinite; training can't go on."""


class StepResult(NamedTuple):
  """What a step leaves to be read later, when the devices have got to it."""

  step: int
  metrics: Metrics
  finite: jax.Array
  index_B: np.ndarray | None


class TrainLog:
  """Reads each step's result while the next one computes, and writes some of them."""

  def __init__(
    self,
    folder: pathlib.Path,
    writer: MetricsWriter,
    progress: Progress,
    batches: Prefetch,
    *,
    examples: int,
    log_every: int,
    start: int,
    last: int,
    show: Sequence[str],
    on_log: Callable[[int, dict[str, Any]], None] | None,
  ):
    self._folder, self._writer, self._progress = folder, writer, progress
    self._log_every, self._last = log_every, last
    self._show, self._on_log = show, on_log
    self._rates = _Rates(batches, examples)
    self._pending: StepResult | None = None
    self._step = start

  def __enter__(self) -> "TrainLog":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    self._writer.__exit__(kind, error, trace)

  def push(self, result: StepResult) -> None:
    """Keeps this result and reads the one before it, which is there or nearly so."""
    self.flush()
    self._pending, self._step = result, result.step
    self._progress.update()

  def flush(self) -> None:
    """Waits for the last step and reads its result.

    Raises:
      NonFiniteError: naming the step and the metrics that aren't finite.
    """
    if self._pending is None:
      return
    result, self._pending = self._pending, None
    if not result.finite:
      self._stop(result)
    if not self._rates.running:  # the first step, which also warmed everything up
      self._rates.restart()
      self._progress.restart_clock()
      self._display(jax.device_get(result.metrics))
    else:
      self._rates.steps += 1
    if result.step % self._log_every == 0 or result.step == self._last:
      metrics = jax.device_get(result.metrics)
      self.write(result.step, {**metrics, **self._rates.take()})

  def write(self, step: int, values: dict[str, Any]) -> None:
    """Writes, shows and hands on a line of metrics."""
    self._writer.write(step, values)
    self._display(values)
    if self._on_log is not None:
      self._on_log(step, values)

  @contextlib.contextmanager
  def compiling(self) -> Iterator[None]:
    """Around the compilation of the training step, whose time is logged."""
    start = time.monotonic()
    with self.paused():
      yield
    seconds = time.monotonic() - start
    self._writer.write(self._step + 1, {"compile_seconds": seconds})
    self._progress.message(f"compiled the training step in {seconds:.1f} s")

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Keeps evaluation, saving and compilation out of the rates."""
    start = time.monotonic()
    yield
    self._rates.skip(time.monotonic() - start)

  def _display(self, values: dict[str, Any]) -> None:
    shown = {name: values[name] for name in self._show if name in values}
    self._progress.show({name: float(v) for name, v in shown.items() if not np.ndim(v)})

  def _stop(self, result: StepResult) -> None:
    metrics = jax.device_get(result.metrics)
    bad = [name for name, value in metrics.items() if not np.isfinite(value).all()]
    path = self._folder / NONFINITE
    index = None if result.index_B is None else result.index_B.tolist()
    # As text, since JSON has neither NaN nor infinity.
    values = {name: str(np.asarray(value)) for name, value in metrics.items()}
    record = {"step": result.step, "index_B": index, "metrics": values}
    files.write_json(path, record)
    raise NonFiniteError(
      f"step {result.step}: {', '.join(bad)} not finite; the metrics and the batch's"
      f" index_B are in {path}. Lower the learning rate or look at those examples; the"
      " last checkpoint is from before"
    )


class _Rates:
  """Seconds a step, examples a second, share of the time spent waiting for input."""

  def __init__(self, batches: Prefetch, examples: int):
    self.running, self.steps = False, 0
    self._batches, self._examples = batches, examples
    self._start = self._waited = 0.0

  def restart(self) -> None:
    self.running, self.steps = True, 0
    self._start, self._waited = time.monotonic(), self._batches.waited

  def skip(self, seconds: float) -> None:
    self._start += seconds

  def take(self) -> dict[str, float]:
    """The rates since the last call; none if no step was measured."""
    steps, seconds = self.steps, time.monotonic() - self._start
    waited = self._batches.waited - self._waited
    self.restart()
    if not steps:
      return {}
    return {
      "step_seconds": seconds / steps,
      "examples_per_s": steps * self._examples / seconds,
      "input_wait_fraction": min(1.0, waited / seconds),
    }
