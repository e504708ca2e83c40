"""What an examination ends with."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"


class Finding(NamedTuple):
  """A line of the report.

  Attributes:
    status: PASS; WARN, it works but look at it; FAIL.
    name: of what was examined.
    text: the figures, and what to do.
  """

  status: str
  name: str
  text: str

  def __str__(self) -> str:
    return f"{self.status}  {self.name}: {self.text}"


def examine(
  name: str, examination: Callable[[], Iterable[tuple[str, str]]]
) -> Iterator[Finding]:
  """Findings of (status, text) pairs; what an examination raises is one that failed."""
  start = time.monotonic()
  try:
    for status, text in examination():
      seconds, start = time.monotonic() - start, time.monotonic()
      yield Finding(status, name, f"{text} [{seconds:.1f} s]")
  except Exception as error:  # noqa: BLE001 - whatever is wrong with a machine
    text = str(error).strip().splitlines()
    yield Finding(FAIL, name, f"{type(error).__name__}: {text[0] if text else ''}")
