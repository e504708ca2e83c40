"""One program in many processes: they wait for each other, agree, and end together.

With one process, everything here does nothing and costs nothing.
"""

import contextlib
import itertools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

T = TypeVar("T")

# Only deaths end a wait, and those the coordinator notices: stages may take days.
_WAIT_SECONDS = 14 * 24 * 3600
# How long a process that ends waits for the others to come to the same end.
_LEAVE_SECONDS = 3
_barriers = itertools.count()


class OtherProcessError(RuntimeError):
  """Another process failed; the message says which and how."""


def several() -> bool:
  """Whether the program has more than one process."""
  # The second would start the devices, which not all programs need.
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
  """Whether this process writes and speaks for all."""
  return not several() or jax.process_index() == 0


def wait() -> None:
  """Returns once all processes are here.

  If one of them dies, JAX ends this process within a minute or two, with a message.
  """
  if several():
    barrier = multihost.get_barrier_sync_fn()
    barrier(key=f"jaxcodec-{next(_barriers)}", timeout_ms=1000 * _WAIT_SECONDS)


def gather(text: str) -> list[str]:
  """The text of every process, in their order."""
  if not several():
    return [text]
  content = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(content.size)).ravel()
  # Of few lengths, since each is a program.
  padded = np.zeros(1 << int(sizes.max()).bit_length(), np.uint8)
  padded[: content.size] = content
  rows = multihost_utils.process_allgather(padded)
  return [
    bytes(row[:size]).decode(errors="replace")
    for row, size in zip(rows, sizes, strict=True)
  ]


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Around work that each process does alone; they leave it together.

  What is computed by all of them at once (a training step) must not be in it.

  Raises:
    OtherProcessError: where another process failed. Its own error each raises itself.
  """
  own = None
  try:
    yield
  except Exception as error:  # noqa: BLE001 - raised below
    own = error
  if several():
    wait()
    texts = gather("" if own is None else f"{type(own).__name__}: {own}")
    failed = [f"process {i}: {text}" for i, text in enumerate(texts) if text]
    if own is None and failed:
      raise OtherProcessError("\n".join(failed))
  if own is not None:
    raise own


def own(items: Sequence[T]) -> Sequence[T]:
  """Every n-th of the items, of n processes, beginning with this one's number."""
  if not several():
    return items
  return items[jax.process_index() :: jax.process_count()]


def on_first(function: Callable[[], T]) -> T:
  """Calls `function` in the first process, while the others wait.

  Returns:
    In all of them what it returned there, as JSON gives it back if there are several.

  Raises:
    OtherProcessError: in the others, if it failed.
  """
  if not several():
    return function()
  results = []
  with together():
    if is_first():
      results.append(function())
  return json.loads(gather(json.dumps(results))[0])[0]


@contextlib.contextmanager
def program() -> Iterator[None]:
  """Around a whole program: a process that fails ends, and so do the others.

  It prints its error and leaves at once, since an orderly exit would wait for processes
  that may never come. Those that share a computation with it fail in turn; others JAX
  ends when the coordinator misses it.
  """
  try:
    yield
  except BaseException as error:
    if not several():
      raise
    _leave(_report(error))


def _report(error: BaseException) -> int:
  """Prints an error; returns the exit code."""
  if isinstance(error, SystemExit):
    code = error.code
    return code if isinstance(code, int) else int(code is not None)
  why = f"since {error}"
  if not isinstance(error, OtherProcessError):
    traceback.print_exception(error)
    why = f"on {type(error).__name__}; if that is about a connection, see the others"
  which = f"process {jax.process_index()} of {jax.process_count()}"
  print(f"error: {which} stops {why}", file=sys.stderr)
  return 1


def _leave(code: int) -> None:
  with contextlib.suppress(Exception):
    barrier = multihost.get_barrier_sync_fn()
    barrier(key="jaxcodec-leaving", timeout_ms=1000 * _LEAVE_SECONDS)
  sys.stdout.flush()
  sys.stderr.flush()
  if is_first():
    time.sleep(1)  # with it goes the coordinator, and then the others, in mid-sentence
  os._exit(code)
