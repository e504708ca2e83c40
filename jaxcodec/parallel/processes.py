"""One program in many processes: they wait for each other, agree, and end together.

With one process, everything here does nothing and costs nothing: JAX is imported only
where there are several, so that what reads results starts without it.
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

import numpy as np

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
  jax = sys.modules.get("jax")  # without it, nothing has joined several processes
  if jax is None:
    return False
  # The count would start the devices, which not all programs need.
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
  """Whether this process writes and speaks for all."""
  return _place()[0] == 0


def _place() -> tuple[int, int]:
  """This process' number, and how many there are."""
  if not several():
    return 0, 1
  import jax

  return jax.process_index(), jax.process_count()


def wait() -> None:
  """Returns once all processes are here.

  If one of them dies, JAX ends this process within a minute or two, with a message.
  """
  if several():
    _barrier(f"jaxcodec-{next(_barriers)}", _WAIT_SECONDS)


def _barrier(key: str, seconds: int) -> None:
  from orbax.checkpoint import multihost

  multihost.get_barrier_sync_fn()(key=key, timeout_ms=1000 * seconds)


def gather(text: str) -> list[str]:
  """The text of every process, in their order."""
  if not several():
    return [text]
  from jax.experimental import multihost_utils

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
  index, count = _place()
  return items[index::count]


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
  index, count = _place()
  which = f"process {index} of {count}"
  print(f"error: {which} stops {why}", file=sys.stderr)
  return 1


def _leave(code: int) -> None:
  with contextlib.suppress(Exception):
    _barrier("jaxcodec-leaving", _LEAVE_SECONDS)
  sys.stdout.flush()
  sys.stderr.flush()
  if is_first():
    time.sleep(1)  # with it goes the coordinator, and then the others, in mid-sentence
  os._exit(code)
