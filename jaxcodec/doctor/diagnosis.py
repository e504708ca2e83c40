"""Results of the examinations, and what runs one."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"


class Diagnosis(NamedTuple):
  """A line of `jaxcodec doctor`'s output.

  Attributes:
    status: PASS, WARN (works, but needs attention) or FAIL.
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
) -> Iterator[Diagnosis]:
  """Yields a diagnosis for each (status, text) pair; an exception becomes a FAIL."""
  start = time.monotonic()
  try:
    for status, text in examination():
      seconds, start = time.monotonic() - start, time.monotonic()
      yield Diagnosis(status, name, f"{text} [{seconds:.1f} s]")
  except Exception as error:  # noqa: BLE001 - whatever is wrong with a machine
    lines = str(error).strip().splitlines()
    yield Diagnosis(FAIL, name, f"{type(error).__name__}: {lines[0] if lines else ''}")
