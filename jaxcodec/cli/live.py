"""`--realtime`: whether audio and tokens are coded as fast as they come."""

import sys
import time
from collections.abc import Iterator

import numpy as np

_BEHIND = 1.0  # seconds from which on a user is told at once


class Meter:
  """Measures the work between pieces that come in real time.

  The time until the next piece is asked for is work; that until it comes is not.

  Args:
    command: that works, for messages.

  Attributes:
    seconds: that the pieces last.
    busy: seconds of work.
    slowest: of a piece, seconds of work.
    behind: seconds by which the work lagged, at most, behind pieces that come in real
      time.
  """

  def __init__(self, command: str):
    self.seconds = self.busy = self.slowest = self.behind = 0.0
    self._command, self._late = command, 0.0

  def ready(self, seconds: float) -> None:
    """Tells that pieces may come, of so many seconds."""
    self._say(f"ready for blocks of {1e3 * seconds:.1f} ms")

  def watched(
    self, pieces: Iterator[np.ndarray], per_second: float
  ) -> Iterator[np.ndarray]:
    """Yields the pieces; so many of their entries last a second."""
    for piece in pieces:
      begin = time.perf_counter()
      yield piece
      self._add(len(piece) / per_second, time.perf_counter() - begin)

  @property
  def factor(self) -> float:
    """Seconds of work for a second of audio, the real-time factor."""
    return self.busy / self.seconds if self.seconds else 0.0

  def report(self) -> None:
    """Tells how it went, and whether that is fast enough."""
    self._say(
      f"{self.seconds:.2f} s at a real-time factor of {self.factor:.2f}; slowest block"
      f" {1e3 * self.slowest:.1f} ms, at most {1e3 * self.behind:.0f} ms behind"
    )
    if self.factor > 1:
      self._say(
        "warning: cannot keep up: audio comes faster than it is coded; a longer"
        " --block takes less work"
      )

  def _add(self, seconds: float, busy: float) -> None:
    self.seconds, self.busy = self.seconds + seconds, self.busy + busy
    self.slowest = max(self.slowest, busy)
    self._late = max(0.0, self._late + busy - seconds)
    if self.behind < _BEHIND <= self._late:
      self._say(f"warning: {self._late:.1f} s behind what comes")
    self.behind = max(self.behind, self._late)

  def _say(self, text: str) -> None:
    print(f"jaxcodec {self._command}: {text}", file=sys.stderr, flush=True)
