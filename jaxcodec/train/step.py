"""A step as the loop runs it: compiled by batch shape, checked, its FLOPs counted."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxcodec.parallel import processes, sharding
from jaxcodec.train import flops
from jaxcodec.types import Batch, Metrics, Task

# Compiler options for programs that run on CPU once or never: LLVM would spend minutes
# on their machine code. Partitioning, fusion and memory use stay as they are.
COMPILE_FAST = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}


class CompiledStep:
  """A jitted function of state and batch, compiled when a batch shape first appears.

  It compiles ahead of the call, so that compilation can be timed apart from running.

  Attributes:
    flops: of the last call, on all devices; see `flops.count`.
  """

  def __init__(
    self,
    function: Callable[..., Any],
    mesh: Mesh,
    around_compilation: Callable[[], Any] = contextlib.nullcontext,
    **options: Any,
  ):
    """Compiles nothing yet.

    Args:
      function: of a state and a batch; jittable.
      mesh: that sharding constraints in it refer to.
      around_compilation: makes a context manager to compile in.
      **options: of `jax.jit`.
    """
    self.flops = flops.Work()
    self._jitted, self._mesh = jax.jit(function, **options), mesh
    self._around_compilation = around_compilation
    self._programs: dict[Any, Any] = {}

  def __call__(self, state: Any, batch: dict[str, jax.Array]) -> Any:
    key = tuple((name, x.shape, x.dtype) for name, x in batch.items())
    if key not in self._programs:
      with self._around_compilation(), sharding.use_mesh(self._mesh):
        traced = self._jitted.trace(state, batch)
        cost = flops.count(traced.jaxpr)
        compiled = traced.lower().compile(), cost
      # A collective times out if the other processes compile for much longer.
      processes.wait()
      self._programs[key] = compiled
    program, self.flops = self._programs[key]
    return program(state, batch)


class PhasedStep:
  """A task's step in each of its phases, chosen on the host, so that none has a branch.

  A state that steps were skipped for has done fewer updates than the loop has steps. It
  is asked only where a phase may begin, as the host waits for the answer.
  """

  def __init__(self, phases: Mapping[int, CompiledStep]):
    """Takes the step of each phase by the phase's first update, one of them 0."""
    self._waiting = sorted(phases.items())
    self._now = self._waiting.pop(0)[1]

  @property
  def flops(self) -> flops.Work:
    """Of the last call, on all devices; see `flops.count`."""
    return self._now.flops

  def __call__(self, state: Any, batch: dict[str, jax.Array], done: int) -> Any:
    """Runs the step of the state's phase, after `done` steps of the loop."""
    while self._waiting and done >= self._waiting[0][0] <= int(state.step):
      self._now = self._waiting.pop(0)[1]
    return self._now(state, batch)


def phases(task: Task) -> Mapping[int, Task]:
  """Returns the tasks that train in turn, by the number of updates before each.

  A task whose step changes in the course of training has a method `phases` that returns
  them, the first one under 0. Each is compiled without what only the others do.
  """
  return task.phases() if hasattr(task, "phases") else {0: task}


def begin(task: Task, state: Any, batch: Batch) -> Any:
  """Returns the state that training starts with, or goes on with.

  A task that has to look at data before its first step, at more than their shapes, has
  a method `begin` of a state and the first batch. It is called outside of jit, also
  where a checkpoint was restored: what needs no change it returns as it is.
  """
  return task.begin(state, batch) if hasattr(task, "begin") else state


class Outcome(NamedTuple):
  """What a step gives beside the state.

  Attributes:
    metrics: scalars, or one value a codebook.
    finite: whether all of them are.
    rows: what `summarize` makes the other metrics of.
  """

  metrics: Any
  finite: Any
  rows: Any


def outcome_shardings(mesh: Mesh) -> Outcome:
  """Returns where an `Outcome` is: the rows of examples stay with their devices."""
  replicated = sharding.replicated(mesh)
  return Outcome(replicated, replicated, sharding.batch_sharding(mesh))


def summarize(task: Task, rows: Metrics) -> Metrics:
  """Returns the metrics that a task makes of a step's rows.

  A task may have arrays with a row for each example among its metrics, with `_B` in
  their names, and a method `summarize` that makes some of the metrics of them. The loop
  calls it for the steps that it logs, and leaves those metrics out of the others.
  """
  return task.summarize(rows) if hasattr(task, "summarize") else {}


def observe(task: Task, *, keep_state: bool) -> Callable[..., Any]:
  """Wraps a task's step to also tell whether all its metrics are finite.

  The loop then reads one value a step. The metrics hold the loss and the norm of every
  gradient, so a gradient that has spoilt the state is always seen.

  Args:
    task: whose step it is.
    keep_state: whether a step that isn't finite leaves the whole state as it was, to
      the last bit: parameters, optimisers, codebooks, its count of steps.

  Returns:
    A function of state and batch that returns (state, outcome). The metrics that
    `summarize` gives are left out, and XLA does not compute them.
  """

  def step(state, batch):
    new_state, metrics = task.train_step(state, batch)
    rows = {name: metrics[name] for name in metrics if "_B" in name}
    later = jax.eval_shape(lambda rows: summarize(task, rows), rows)
    metrics = {n: v for n, v in metrics.items() if n not in {*rows, *later}}
    finite = [jnp.isfinite(value).all() for value in metrics.values()]
    finite = jnp.stack([jnp.array(True), *finite]).all()
    if keep_state:
      new_state = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new_state, state)
    return new_state, Outcome(metrics, finite, rows)

  return step
