"""A task's step as the loop runs it: checked, compiled by shape, its cost known."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxcodec.parallel import processes, sharding
from jaxcodec.train import flops
from jaxcodec.types import Batch, Metrics

# For CPU, whose machine code LLVM would spend minutes on: programs that run once or not
# at all. Partitioning, fusion and the use of memory are as they are otherwise.
COMPILE_FAST = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}

TrainStep = Callable[[Any, Batch], tuple[Any, Metrics]]


class Compiled:
  """A jitted function of state and batch, compiled at sight of each batch shape.

  Ahead of its first call, so that what compiling takes can be told from running.

  Attributes:
    flops: of the last call, on all devices; see `flops.count`.
  """

  def __init__(
    self,
    function: Callable[..., Any],
    mesh: Mesh,
    compiling: Callable[[], Any] = contextlib.nullcontext,
    **options: Any,
  ):
    self.flops = 0.0
    self._jitted, self._mesh = jax.jit(function, **options), mesh
    self._compiling = compiling
    self._programs: dict[Any, Any] = {}

  def __call__(self, state: Any, batch: dict[str, jax.Array]) -> Any:
    key = tuple((name, x.shape, x.dtype) for name, x in batch.items())
    if key not in self._programs:
      with self._compiling(), sharding.use_mesh(self._mesh):
        traced = self._jitted.trace(state, batch)
        cost = flops.count(traced.jaxpr)
        compiled = traced.lower().compile(), cost
      processes.wait()  # the first to run it would not wait long for the others
      self._programs[key] = compiled
    program, self.flops = self._programs[key]
    return program(state, batch)


def checked(train_step: TrainStep, *, keep_state: bool) -> Callable[..., Any]:
  """Adds whether all metrics are finite, so that one value a step has to be read.

  Among them are the loss and the norm of every gradient, so that a state that a
  gradient has spoilt never goes unseen.

  Args:
    train_step: of a task.
    keep_state: whether a step that isn't finite leaves the state as it was, to the
      last bit: parameters, all optimisers, codebooks, its count of steps.
  """

  def step(state, batch):
    updated, metrics = train_step(state, batch)
    finite = [jnp.isfinite(value).all() for value in metrics.values()]
    finite = jnp.stack([jnp.array(True), *finite]).all()
    if keep_state:
      updated = jax.tree.map(lambda a, b: jnp.where(finite, a, b), updated, state)
    return updated, metrics, finite

  return step
