"""Runs the cells one after the other, each in a process of its own."""

import collections
import json
import pathlib
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

from jaxcodec import files, stages
from jaxcodec.study.grid import Cell

STATUS = "status.json"
DONE, FAILED, NOT_RUN = "done", "failed", "not run"


class Stopped(SystemExit):
  """Raised when a signal stopped the study; `code` is 128 + the signal's number."""


def run_cells(
  cells: Sequence[Cell], workdir: pathlib.Path, say: Callable[[str], None] = print
) -> dict[str, dict[str, Any]]:
  """Runs every cell; one that failed stops only those that need it.

  A cell that was interrupted goes on where it was. Its output is in `logs/<name>.log`.
  `status.json` is written after each cell.

  Args:
    cells: from `grid.plan`.
    workdir: the study's folder.
    say: called with a line of progress.

  Returns:
    {"state", "seconds", "reason"} by cell. The state is `done`, `failed` or `not run`;
    the reason is the last line that the cell printed, None if it is done.

  Raises:
    Stopped: by SIGINT or SIGTERM, after the running cell saved its work.
    WorkdirInUse: another process runs the study.
  """
  with stages.lock_workdir(workdir):
    status = read_status(workdir)
    for number, cell in enumerate(cells, 1):
      failed = [n for n in cell.needs if status.get(n, {}).get("state") != DONE]
      if not failed:
        say(f"[{number}/{len(cells)}] {cell.name}")
        outcome = _run(cell, workdir / "logs" / f"{cell.name}.log")
      else:
        reason = f"{failed[0]} failed: {status.get(failed[0], {}).get('reason')}"
        outcome = {"state": NOT_RUN, "seconds": 0.0, "reason": reason}
      status[cell.name] = outcome
      files.write_json(workdir / STATUS, status)
      say(f"  {outcome['state']}, {outcome['seconds']:.0f} s {outcome['reason'] or ''}")
  return status


def read_status(workdir: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Reads the status that `run_cells` wrote; {} if it hasn't run here."""
  path = workdir / STATUS
  return json.loads(path.read_text()) if path.is_file() else {}


def _run(cell: Cell, log: pathlib.Path) -> dict[str, Any]:
  log.parent.mkdir(parents=True, exist_ok=True)
  start = time.monotonic()
  with open(log, "w") as file:
    process = subprocess.Popen(
      [sys.executable, *cell.command],
      stdout=file,
      stderr=subprocess.STDOUT,
      # In its own session it gets the terminal's signals once, from this process.
      start_new_session=True,
    )
    code = _wait(process)
  outcome = {"state": FAILED if code else DONE, "reason": None}
  if code:
    outcome["reason"] = f"{last_line(log)} (exit code {code}; {log})"
  return {**outcome, "seconds": round(time.monotonic() - start, 1)}


def _wait(process: subprocess.Popen) -> int:
  """Waits for a process, and passes SIGINT and SIGTERM on to it.

  Returns:
    its exit code.

  Raises:
    Stopped: a signal was passed on.
  """
  caught: list[int] = []

  def pass_on(number: int, frame: types.FrameType | None) -> None:
    caught.append(number)
    process.send_signal(number)

  kinds = (signal.SIGINT, signal.SIGTERM)
  before = {number: signal.signal(number, pass_on) for number in kinds}
  try:
    code = process.wait()
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  if caught:
    raise Stopped(128 + caught[0])
  return code


def last_line(log: pathlib.Path) -> str:
  """Returns a log's last line that isn't blank; of progress bars, the last state."""
  with open(log, errors="replace") as file:
    lines = collections.deque((line for line in file if line.strip()), maxlen=1)
  return lines[0].rsplit("\r", 1)[-1].strip() if lines else "no output"
