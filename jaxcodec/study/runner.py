"""Runs the cells, each in a process of its own, one after the other or some at once."""

import collections
import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxcodec import files, stages
from jaxcodec.study import resources
from jaxcodec.study.grid import Cell

STATUS = "status.json"
DONE, FAILED, NOT_RUN = "done", "failed", "not run"
_POLL_SECONDS = 0.05


class Stopped(SystemExit):
  """Raised when a signal stopped the study; `code` is 128 + the signal's number."""


def run_cells(
  cells: Sequence[Cell],
  workdir: pathlib.Path,
  say: Callable[[str], None] = print,
  jobs: int = 1,
) -> dict[str, dict[str, Any]]:
  """Runs every cell; one that failed stops only those that need it.

  A cell that was interrupted goes on where it was. Its output is in `logs/<name>.log`.
  `status.json` is written after each cell.

  Args:
    cells: from `grid.plan`.
    workdir: the study's folder.
    say: called with a line of progress.
    jobs: cells that run at once, each on its `resources.shares`.

  Returns:
    {"state", "seconds", "reason"} by cell. The state is `done`, `failed` or `not run`;
    the reason is the last line that the cell printed, None if it is done.

  Raises:
    Stopped: by SIGINT or SIGTERM, after the running cells saved their work.
    StudyError: there are fewer GPUs than jobs.
    WorkdirInUse: another process runs the study.
  """
  with stages.lock_workdir(workdir):
    return _Schedule(cells, workdir, say, jobs).run()


def read_status(workdir: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Reads the status that `run_cells` wrote; {} if it hasn't run here."""
  path = workdir / STATUS
  return json.loads(path.read_text()) if path.is_file() else {}


class _Running(NamedTuple):
  """A cell's process, and where it runs."""

  cell: Cell
  process: subprocess.Popen
  log: pathlib.Path
  start: float
  share: resources.Share

  @classmethod
  def begin(cls, cell: Cell, log: pathlib.Path, share: resources.Share) -> "_Running":
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as file:
      process = subprocess.Popen(
        [sys.executable, *cell.command],
        stdout=file,
        stderr=subprocess.STDOUT,
        env=share.environment(),
        # In its own session it gets the terminal's signals once, from this process.
        start_new_session=True,
      )
    share.pin(process.pid)
    return cls(cell, process, log, time.monotonic(), share)

  def outcome(self) -> dict[str, Any]:
    code, reason = self.process.returncode, None
    if code:
      reason = f"{last_line(self.log)} (exit code {code}; {self.log})"
    seconds = round(time.monotonic() - self.start, 1)
    return {"state": FAILED if code else DONE, "reason": reason, "seconds": seconds}


class _Schedule:
  """The cells that wait, those that run, and what became of the others."""

  def __init__(self, cells, workdir, say, jobs):
    self._workdir, self._say, self._count = workdir, say, len(cells)
    self._waiting = list(enumerate(cells, 1))
    self._running: list[_Running] = []
    self._free = list(resources.shares(jobs))
    self._status = read_status(workdir)
    self._caught: list[int] = []  # signals

  def run(self) -> dict[str, dict[str, Any]]:
    """Runs all; see `run_cells`."""
    with self._passing_signals_on(), self._leaving_none_behind():
      while self._running or (self._waiting and not self._caught):
        while self._free and not self._caught and (ready := self._next()):
          self._start(*ready)
        self._take_ended()
        time.sleep(_POLL_SECONDS)
    if self._caught:
      raise Stopped(128 + self._caught[0])
    return self._status

  def _take_ended(self) -> None:
    for one in [r for r in self._running if r.process.poll() is not None]:
      self._running.remove(one)
      self._free.insert(0, one.share)
      if not self._caught:
        self._note(one.cell, one.outcome())

  def _next(self) -> tuple[int, Cell] | None:
    """Takes the first cell that waits for no other one."""
    cells = [cell for _, cell in self._waiting] + [r.cell for r in self._running]
    open_ones = {cell.name for cell in cells}
    for index, (_, cell) in enumerate(self._waiting):
      if not open_ones.intersection(cell.needs):
        return self._waiting.pop(index)
    return None

  def _start(self, number: int, cell: Cell) -> None:
    """Starts a cell, unless one that it needs isn't done."""
    states = {name: self._status.get(name, {}) for name in cell.needs}
    failed = [name for name, one in states.items() if one.get("state") != DONE]
    if failed:
      reason = f"{failed[0]} failed: {states[failed[0]].get('reason')}"
      self._note(cell, {"state": NOT_RUN, "seconds": 0.0, "reason": reason})
      return
    self._say(f"[{number}/{self._count}] {cell.name}")
    log = self._workdir / "logs" / f"{cell.name}.log"
    self._running.append(_Running.begin(cell, log, self._free.pop(0)))
    if self._caught:  # while it began
      self._running[-1].process.send_signal(self._caught[-1])

  def _note(self, cell: Cell, outcome: dict[str, Any]) -> None:
    self._status[cell.name] = outcome
    files.write_json(self._workdir / STATUS, self._status)
    took = f"{outcome['state']}, {outcome['seconds']:.0f} s"
    self._say(f"  {cell.name}: {took} {outcome['reason'] or ''}")

  @contextlib.contextmanager
  def _leaving_none_behind(self) -> Iterator[None]:
    """Lets what runs save its work and end where an error ends the study."""
    try:
      yield
    except BaseException:
      for one in self._running:
        one.process.terminate()
      for one in self._running:
        one.process.wait()
      raise

  @contextlib.contextmanager
  def _passing_signals_on(self) -> Iterator[None]:
    """Passes SIGINT and SIGTERM on to all that runs, and notes them."""

    def pass_on(number: int, frame: types.FrameType | None) -> None:
      self._caught.append(number)
      for one in self._running:
        one.process.send_signal(number)

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, pass_on) for number in kinds}
    try:
      yield
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)


def last_line(log: pathlib.Path) -> str:
  """Returns a log's last line that isn't blank; of progress bars, the last state."""
  with open(log, errors="replace") as file:
    lines = collections.deque((line for line in file if line.strip()), maxlen=1)
  return lines[0].rsplit("\r", 1)[-1].strip() if lines else "no output"
