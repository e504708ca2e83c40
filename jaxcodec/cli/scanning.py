"""Checks all input files of a command first, and lists those that are left out."""

import concurrent.futures
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from jaxcodec.cli.file_tree import FilePair
from jaxcodec.data.source import DataError
from jaxcodec.progress import Progress

Skipped = list[dict[str, str]]
_ADVICE = "--on-error skip leaves such files out"


def scan_all(
  pairs: Sequence[FilePair], scan: Callable[[pathlib.Path], Any], on_error: str
) -> tuple[list[tuple[FilePair, Any]], Skipped]:
  """Scans every file, in threads; returns the good ones with the results, and the bad.

  Raises:
    DataError: (`raise`) the first bad file, or none is good.
  """
  kept, failures = [], Failures(on_error)
  workers = min(16, os.cpu_count() or 1)
  with (
    Progress(len(pairs), "check", unit="files") as progress,
    concurrent.futures.ThreadPoolExecutor(workers) as pool,
  ):
    futures = [pool.submit(scan, pair.source) for pair in pairs]
    try:
      for pair, future in zip(pairs, futures, strict=True):
        result = failures.attempt(pair.source, future.result)
        if pair.source not in failures:
          kept.append((pair, result))
        progress.update()
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise
  skipped = failures.listed()
  if not kept:
    raise DataError(f"no usable file; the first: {skipped[0]['reason']}")
  return kept, skipped


class Failures:
  """What went wrong with files, by their paths; the first is raised where wanted."""

  def __init__(self, on_error: str):
    self._on_error = on_error
    self._reasons: dict[pathlib.Path, str] = {}

  def attempt(
    self, path: pathlib.Path, function: Callable[[], Any], otherwise: Any = None
  ) -> Any:
    """Returns what a function of a file gives, or `otherwise` where it fails.

    Raises:
      DataError: (`raise`) naming the file.
    """
    try:
      return function()
    except (ValueError, OSError) as error:
      reason = str(error)
      if str(path) not in reason:
        reason = f"{path}: {reason}"
      if self._on_error == "raise":
        raise DataError(f"{reason}; {_ADVICE}") from error
      self._reasons.setdefault(path, reason)
      return otherwise

  def __contains__(self, path: pathlib.Path) -> bool:
    return path in self._reasons

  def listed(self) -> Skipped:
    """Returns {"item": name, "reason": why} of each file."""
    return [{"item": str(p), "reason": reason} for p, reason in self._reasons.items()]
