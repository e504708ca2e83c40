"""Keeps a device busy while the host reads what it has done."""

from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def one_ahead(dispatched: Iterator[T]) -> Iterator[T]:
  """Yields items one later than they come, when the next is dispatched already.

  JAX computes in the background what it is asked for: reading a result before asking
  for the next leaves the device without work.
  """
  waiting = []
  for item in dispatched:
    yield from waiting
    waiting = [item]
  yield from waiting
