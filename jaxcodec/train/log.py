"""Training's log: metrics read one step late, rates, the progress bar."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxcodec.progress import Progress
from jaxcodec.train.metrics_file import MetricsWriter
from jaxcodec.train.nonfinite import NonFiniteRecord, StepResult
from jaxcodec.train.rates import Rates
from jaxcodec.types import Metrics


class TrainLog(contextlib.AbstractContextManager):
  """Reads each step's result while the next one computes, and writes some of them."""

  def __init__(
    self,
    writer: MetricsWriter,
    progress: Progress,
    rates: Rates,
    nonfinite: NonFiniteRecord,
    *,
    log_every: int,
    start: int,
    last: int,
    summarize: Callable[[Metrics], Metrics],
    show: Sequence[str],
    on_log: Callable[[int, dict[str, Any]], None] | None,
  ):
    self._writer, self._progress = writer, progress
    self._rates, self._nonfinite = rates, nonfinite
    self._log_every, self._last = log_every, last
    self._summarize = summarize
    self._show, self._on_log = show, on_log
    self._pending: StepResult | None = None
    self._step = start

  def __exit__(self, *exception: Any) -> None:
    self._writer.close()

  def push(self, result: StepResult, rows: Metrics) -> None:
    """Keeps this step's result and reads the one before, which has nearly arrived.

    Of a step that will be logged, the devices also make the metrics of its `rows`.
    """
    if rows and self._logs(result.step):
      result = result._replace(metrics={**result.metrics, **self._summarize(rows)})
    self.flush()
    self._pending, self._step = result, result.step
    self._progress.update()

  def flush(self) -> None:
    """Waits for the last step and reads its result.

    Raises:
      NonFiniteError: as `NonFiniteRecord.add` does.
    """
    if self._pending is None:
      return
    result, self._pending = self._pending, None
    if not result.finite:
      self._nonfinite.add(result)
    if not self._rates.running:  # the first step, which also warmed everything up
      self._rates.restart()
      self._progress.restart_clock()
      self._display(jax.device_get(result.metrics))
    else:
      self._rates.tick(result.flops, result.examples)
    if self._logs(result.step):
      metrics = jax.device_get(result.metrics)
      extra = self._rates.take() | self._nonfinite.metrics()
      self.write(result.step, {**metrics, **extra})

  def _logs(self, step: int) -> bool:
    return step % self._log_every == 0 or step == self._last

  def write(self, step: int, values: dict[str, Any]) -> None:
    """Writes a line of metrics, shows it and passes it to `on_log`."""
    self._writer.write(step, values)
    self._display(values)
    if self._on_log is not None:
      self._on_log(step, values)

  @contextlib.contextmanager
  def time_compilation(self) -> Iterator[None]:
    """Context in which the training step compiles; its seconds are logged."""
    start = time.monotonic()
    with self.pause_rates():
      yield
    seconds = time.monotonic() - start
    self._writer.write(self._step + 1, {"compile_seconds": seconds})
    self._progress.message(f"compiled the training step in {seconds:.1f} s")

  @contextlib.contextmanager
  def pause_rates(self) -> Iterator[None]:
    """Context of evaluation, saving and compilation, which the rates leave out."""
    start = time.monotonic()
    yield
    self._rates.skip(time.monotonic() - start)

  def _display(self, values: dict[str, Any]) -> None:
    shown = {name: values[name] for name in self._show if name in values}
    self._progress.show({name: float(v) for name, v in shown.items() if not np.ndim(v)})
