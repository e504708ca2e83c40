"""Runs the cells one after the other, each as a program of its own."""

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
  """A signal stopped the study; `code` is 128 + the signal's number."""


def run_cells(
  cells: Sequence[Cell], workdir: pathlib.Path, say: Callable[[str], None] = print
) -> dict[str, dict[str, Any]]:
  """Runs every cell, whatever becomes of the others; a cell's own program resumes it.

  A cell whose codec failed isn't run. What each printed is in `logs/<name>.log`, what
  became of it in `status.json`, which is written after each.

  Returns:
    by cell {"state", "seconds", "reason"}: `done`, `failed` or `not run`; the reason is
    the last line that it printed, None of a cell that is done.

  Raises:
    Stopped: by SIGINT or SIGTERM, once the cell that ran has saved its work.
    WorkdirInUse: another process runs the study.
  """
  with stages.lock_workdir(workdir):
    status = read_status(workdir)
    for number, cell in enumerate(cells, 1):
      needed = status.get(cell.needs, {}) if cell.needs else {"state": DONE}
      if needed.get("state") == DONE:
        say(f"[{number}/{len(cells)}] {cell.name}")
        outcome = _run(cell, workdir / "logs" / f"{cell.name}.log")
      else:
        reason = f"{cell.needs} failed: {needed.get('reason')}"
        outcome = {"state": NOT_RUN, "seconds": 0.0, "reason": reason}
      status[cell.name] = outcome
      files.write_json(workdir / STATUS, status)
      say(f"  {outcome['state']}, {outcome['seconds']:.0f} s {outcome['reason'] or ''}")
  return status


def read_status(workdir: pathlib.Path) -> dict[str, dict[str, Any]]:
  """What `run_cells` wrote; {} if it hasn't run here."""
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
      # Signals of the terminal reach it through this program alone, each once.
      start_new_session=True,
    )
    code = _wait(process)
  outcome = {"state": FAILED if code else DONE, "reason": None}
  if code:
    outcome["reason"] = f"{last_line(log)} (exit code {code}; {log})"
  return {**outcome, "seconds": round(time.monotonic() - start, 1)}


def _wait(process: subprocess.Popen) -> int:
  """The exit code; passes SIGINT and SIGTERM on and stops after the process did."""
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
  """The last line that says something; progress bars overwrite theirs."""
  with open(log, errors="replace") as file:
    lines = collections.deque((line for line in file if line.strip()), maxlen=1)
  return lines[0].rsplit("\r", 1)[-1].strip() if lines else "no output"
