"""Keeps the processes of one program in step: they wait, exchange text, fail together.

With one process, everything here does nothing and costs nothing. JAX is imported only
where there are several processes, so that programs which only read results start
without it.
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

# Stages may take days. A process that dies ends the wait sooner: the coordinator
# notices its missing heartbeat.
_WAIT_SECONDS = 14 * 24 * 3600
# How long a process that exits waits for the others to reach their own exit.
_EXIT_SECONDS = 3
_barriers = itertools.count()


class OtherProcessError(RuntimeError):
  """Another process failed; the message says which and how."""


def is_distributed() -> bool:
  """Whether the program has more than one process."""
  jax = sys.modules.get("jax")  # without it, nothing has joined several processes
  if jax is None:
    return False
  # `process_count` alone would start the devices, which not all programs need.
  return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
  """Whether this is the process that writes shared files and talks to the user."""
  return _index_and_count()[0] == 0


def _index_and_count() -> tuple[int, int]:
  if not is_distributed():
    return 0, 1
  import jax

  return jax.process_index(), jax.process_count()


def wait() -> None:
  """Returns once all processes have called it.

  If one of them dies, JAX ends this process within a minute or two, with a message.
  """
  if is_distributed():
    _barrier(f"jaxcodec-{next(_barriers)}", _WAIT_SECONDS)


def _barrier(key: str, seconds: int) -> None:
  from orbax.checkpoint import multihost

  multihost.get_barrier_sync_fn()(key=key, timeout_ms=1000 * seconds)


def gather(text: str) -> list[str]:
  """Returns the texts that all processes passed, in the processes' order."""
  if not is_distributed():
    return [text]
  from jax.experimental import multihost_utils

  content = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(content.size)).ravel()
  # A power of two, since JAX compiles a program for each length.
  padded = np.zeros(1 << int(sizes.max()).bit_length(), np.uint8)
  padded[: content.size] = content
  rows = multihost_utils.process_allgather(padded)
  return [
    bytes(row[:size]).decode(errors="replace")
    for row, size in zip(rows, sizes, strict=True)
  ]


@contextlib.contextmanager
def share_failure() -> Iterator[None]:
  """Context of work that each process does alone: if one fails, all of them raise.

  They leave the context at the same time. What all of them compute at once, such as a
  training step, must not be inside.

  Raises:
    OtherProcessError: if only other processes failed. One that failed raises its error.
  """
  failure = None
  try:
    yield
  except Exception as error:  # noqa: BLE001 - raised below
    failure = error
  if is_distributed():
    wait()
    texts = gather("" if failure is None else f"{type(failure).__name__}: {failure}")
    failed = [f"process {i}: {text}" for i, text in enumerate(texts) if text]
    if failure is None and failed:
      raise OtherProcessError("\n".join(failed))
  if failure is not None:
    raise failure


def take_share(items: Sequence[T]) -> Sequence[T]:
  """Returns this process' part of the items: every n-th of them, of n processes."""
  index, count = _index_and_count()
  return items[index::count]


def on_first(function: Callable[[], T]) -> T:
  """Calls `function` in the first process, while the others wait.

  Returns:
    Its result, in every process. With several it has passed through JSON.

  Raises:
    OtherProcessError: in the others, if it failed.
  """
  if not is_distributed():
    return function()
  results = []
  with share_failure():
    if is_first():
      results.append(function())
  return json.loads(gather(json.dumps(results))[0])[0]


@contextlib.contextmanager
def exit_together() -> Iterator[None]:
  """Context of a whole program: when one process fails, it exits, and so do the others.

  It prints its error and exits at once, since an orderly exit would wait for processes
  that may never come. Processes that share a computation with it fail in turn; JAX ends
  the rest when the coordinator misses its heartbeat.
  """
  try:
    yield
  except BaseException as error:
    if not is_distributed():
      raise
    _exit(_report(error))


def _report(error: BaseException) -> int:
  """Prints an error; returns the exit code."""
  if isinstance(error, SystemExit):
    code = error.code
    return code if isinstance(code, int) else int(code is not None)
  why = f"since {error}"
  if not isinstance(error, OtherProcessError):
    traceback.print_exception(error)
    why = f"on {type(error).__name__}; if that is about a connection, see the others"
  index, count = _index_and_count()
  which = f"process {index} of {count}"
  print(f"error: {which} stops {why}", file=sys.stderr)
  return 1


def _exit(code: int) -> None:
  with contextlib.suppress(Exception):
    _barrier("jaxcodec-leaving", _EXIT_SECONDS)
  sys.stdout.flush()
  sys.stderr.flush()
  if is_first():
    # The coordinator runs in this process. Once it is gone the others are aborted, so
    # they get a second to print their errors.
    time.sleep(1)
  os._exit(code)
