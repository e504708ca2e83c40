"""Shows progress on stderr: a live bar on a terminal, else a line now and then."""

import sys
import time
import types
from collections.abc import Mapping
from typing import TextIO

import tqdm

SECONDS_BETWEEN_LINES = 10.0
_silent = False


def silence() -> None:
  """Shows nothing from now on, so that only one of several processes does."""
  global _silent
  _silent = True


class Progress:
  """Shows a loop's progress, rate, remaining time and a few values.

  A context manager. Off a terminal it writes whole lines without carriage returns, at
  most one every `every` seconds, and one at the end.
  """

  def __init__(
    self,
    total: int | None,
    desc: str,
    *,
    initial: int = 0,
    unit: str = "it",
    scale: int = 1,
    every: float = SECONDS_BETWEEN_LINES,
    stream: TextIO | None = None,
  ):
    """Starts the clock and, on a terminal, the bar.

    Args:
      total: iterations in all, None if unknown.
      desc: what is being done.
      initial: iterations done before.
      unit: name of what the rate counts.
      scale: how many of those an iteration is (a batch of 8 examples: 8).
      every: seconds between lines off a terminal.
      stream: default stderr.
    """
    self._stream = sys.stderr if stream is None else stream
    self._total, self._desc, self._unit, self._scale = total, desc, unit, scale
    self._every, self._done, self._initial = every, initial, initial
    self._shown = initial
    self._values: dict[str, float] = {}
    self._start = self._last = time.monotonic()
    self._bar = None
    if self._stream.isatty() and not _silent:
      self._bar = tqdm.tqdm(
        desc=desc,
        total=total,
        initial=initial,
        file=self._stream,
        dynamic_ncols=True,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {postfix}"
        if total is not None
        else "{desc} {n_fmt} {postfix}",
      )

  def __enter__(self) -> "Progress":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    if self._bar is not None:
      self._bar.close()
    elif self._done > self._shown:
      self._line()

  def update(self, count: int = 1) -> None:
    """Counts iterations."""
    self._done += count
    if self._bar is not None:
      self._bar.set_postfix_str(self._status(), refresh=False)
      self._bar.update(count)
    elif time.monotonic() - self._last >= self._every:
      self._line()

  def show(self, values: Mapping[str, float]) -> None:
    """Sets values to show from now on."""
    self._values.update(values)

  def restart_clock(self) -> None:
    """Leaves what has passed (compilation, evaluation) out of the rate."""
    self._start, self._initial = time.monotonic(), self._done

  def message(self, text: str) -> None:
    """Writes a line without breaking the bar."""
    if self._bar is not None:
      self._bar.write(text, file=self._stream)
    elif not _silent:
      print(text, file=self._stream, flush=True)

  def _line(self) -> None:
    self._last, self._shown = time.monotonic(), self._done
    count = str(self._done)
    if self._total:
      count += f"/{self._total} {100 * self._done // self._total}%"
    self.message(" ".join(filter(None, [self._desc, count, self._status()])))

  def _status(self) -> str:
    values = [f"{name} {value:.4g}" for name, value in self._values.items()]
    done, seconds = self._done - self._initial, time.monotonic() - self._start
    if not done or not seconds:
      return " ".join(values)
    values.append(f"{done * self._scale / seconds:.3g} {self._unit}/s")
    if self._total is not None:
      left = (self._total - self._done) * seconds / done
      values.append(f"left {tqdm.tqdm.format_interval(left)}")
    return " ".join(values)
