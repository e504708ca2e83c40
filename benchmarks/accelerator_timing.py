"""Compiles and times one program after another."""

import statistics
import time
from typing import Any, NamedTuple

import jax

from jaxcodec.train import flops
from jaxcodec.train.step import COMPILE_FAST

_ROUNDS, _MOST_CALLS = 3, 100


class Program(NamedTuple):
  """A compiled function.

  Attributes:
    call: runs it.
    compile_s: seconds from tracing to machine code.
    flops: of the computation as it is written; see `flops.count`.
    recomputed_flops: of what is computed again rather than kept.
    memory_bytes: that it holds at once, its arguments included.
    accessed_bytes: that XLA says it reads and writes; loops' bodies count once.
  """

  call: Any
  compile_s: float
  flops: float
  recomputed_flops: float
  memory_bytes: int
  accessed_bytes: float


def build(function, *args, **options) -> Program:
  """Compiles a function for arguments; `options` are of `jax.jit`."""
  start = time.monotonic()
  traced = jax.jit(function, **options).trace(*args)
  fast = jax.default_backend() == "cpu"  # whose speed nobody asks for here
  compiled = traced.lower().compile(COMPILE_FAST if fast else None)
  seconds = time.monotonic() - start
  memory, cost = compiled.memory_analysis(), compiled.cost_analysis() or {}
  held = memory.argument_size_in_bytes + memory.output_size_in_bytes
  held += memory.temp_size_in_bytes - memory.alias_size_in_bytes
  accessed = float(cost.get("bytes accessed", 0.0))
  work = flops.count(traced.jaxpr)
  return Program(compiled, seconds, work.model, work.recomputed, held, accessed)


def seconds_per_call(call, turn: float) -> float:
  """Returns the median of a few rounds of calls that follow each other at once.

  Args:
    call: of no arguments; returns arrays. It is called once before to warm up.
    turn: seconds that all rounds take, about; each has at least one call.
  """
  jax.block_until_ready(call())
  once = _seconds(call, 1)
  calls = int(min(_MOST_CALLS, max(1, turn / _ROUNDS / once)))
  return statistics.median(_seconds(call, calls) / calls for _ in range(_ROUNDS))


def _seconds(call, calls):
  start = time.perf_counter()
  for _ in range(calls):
    result = call()
  jax.block_until_ready(result)
  return time.perf_counter() - start


def device_peak_bytes() -> int | None:
  """Returns the most memory that the process has held, None where that isn't told."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("peak_bytes_in_use")


def device_limit_bytes() -> int | None:
  """Returns the memory that the process may hold, None where that isn't told."""
  stats = jax.local_devices()[0].memory_stats() or {}
  return stats.get("bytes_limit")
