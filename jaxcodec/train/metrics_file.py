"""Metrics as JSON lines that survive kills, and in TensorBoard where it's installed."""

import contextlib
import importlib.util
import json
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from jaxcodec import files
from jaxcodec.parallel import processes

FILE = "metrics.jsonl"


class MetricsWriter(contextlib.AbstractContextManager):
  """Writes `metrics.jsonl`: {"step", "time", name: number | [number, ...]} a line.

  A vector (one value a codebook) is a list. NaN and infinity, which JSON lacks, become
  null. Each line is flushed at once, so that a kill loses none. Of several processes
  only the first writes.
  """

  def __init__(self, folder: files.PathLike, *, step: int = 0):
    """Opens `folder`'s file to go on after `step`.

    Cuts off the lines of later steps, which training is about to repeat, and a last
    line that a kill left half-written.

    Raises:
      ValueError: naming the file and line, if any other line isn't a record.
    """
    self._file = self._board = None
    if not processes.is_first():
      return
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    if path.exists():
      _cut_after(path, step)
    self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115
    self._board = _tensorboard(folder, step)

  def __exit__(self, *exception: Any) -> None:
    self.close()

  def close(self) -> None:
    """Closes the files."""
    if self._file is not None:
      self._file.close()
    if self._board is not None:
      self._board.close()

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Adds one line.

    Args:
      step: updates done.
      metrics: numbers or vectors by name, on the host.

    Raises:
      ValueError: if a value is neither.
    """
    values = {name: _plain(name, value) for name, value in metrics.items()}
    record = {"step": step, "time": round(time.time(), 3), **values}
    if self._file is not None:
      self._file.write(json.dumps(record, allow_nan=False) + "\n")
      self._file.flush()
    if self._board is not None:
      for name, value in _scalars(values):
        self._board.add_scalar(name, value, step)


def read_metrics(folder: files.PathLike) -> list[dict[str, Any]]:
  """Reads the records of `folder`'s file, without a half-written last line."""
  return _records(pathlib.Path(folder) / FILE)


def _records(path: pathlib.Path) -> list[dict[str, Any]]:
  lines = path.read_text(encoding="utf-8").split("\n")
  records = []
  # What follows the last line end is empty or half-written.
  for number, line in enumerate(lines[:-1], 1):
    try:
      records.append({"step": None, **json.loads(line)})
    except (ValueError, TypeError):
      raise ValueError(f"{path}, line {number} isn't a metrics record") from None
  return records


def _cut_after(path: pathlib.Path, step: int) -> None:
  records = _records(path)
  kept = [record for record in records if record["step"] <= step]
  if len(kept) < len(records):
    logging.info(
      "%s: cut off %d lines after step %d", path, len(records) - len(kept), step
    )
  files.write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def _plain(name: str, value: Any) -> float | None | list[float | None]:
  array = np.asarray(value)
  if array.ndim > 1 or array.dtype.kind not in "biuf":
    raise ValueError(f"metric {name!r} must be a number or a vector, got {value!r}")
  values = [v if math.isfinite(v) else None for v in map(float, array.ravel())]
  return values if array.ndim else values[0]


def _scalars(values):
  """Yields (name, number) pairs; a vector's elements as `name/0`, `name/1`, ..."""
  for name, value in values.items():
    elements = (
      {name: value}
      if not isinstance(value, list)
      else {f"{name}/{i}": element for i, element in enumerate(value)}
    )
    for key, element in elements.items():
      if element is not None:
        yield key, element


def _tensorboard(folder: pathlib.Path, step: int) -> Any:
  if importlib.util.find_spec("tensorboardX") is None:
    return None
  import tensorboardX

  # Purging hides the points of a killed run that are about to be repeated.
  return tensorboardX.SummaryWriter(
    str(folder / "tensorboard"), purge_step=step + 1 if step else None
  )
