"""A training step compiled for devices that need not be there, and what it costs."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from jaxcodec.dry_run.collectives import Collective, collectives
from jaxcodec.nn import platform
from jaxcodec.parallel import sharding
from jaxcodec.train import flops
from jaxcodec.train.step import COMPILE_FAST, checked
from jaxcodec.types import Task

Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class Cost:
  """What one step costs a device; all but `flops` as its compiler planned it.

  Attributes:
    state: bytes of parameters, optimisers and the like, which stay between steps.
    arguments: bytes of the state and the batch.
    results: bytes of the new state and the metrics.
    reused: bytes of arguments whose place results take.
    temporary: bytes of everything in between.
    flops: of matrix products and convolutions, loops counted in full.
    compiler_flops: XLA's `cost_analysis`, which counts the body of a loop once.
    collectives: all that it says to other devices.
  """

  state: int
  arguments: int
  results: int
  reused: int
  temporary: int
  flops: float
  compiler_flops: float
  collectives: list[Collective]

  @property
  def memory(self) -> int:
    """Bytes that are held at once."""
    return self.arguments + self.results - self.reused + self.temporary

  @property
  def sent(self) -> float:
    """Bytes that a device sends to others."""
    return sum(c.sent for c in self.collectives)


@dataclasses.dataclass(frozen=True)
class Step:
  """A task's step on a mesh, traced: its state's shapes and shardings, its cost."""

  state: Any
  shardings: Any
  lowered: jax.stages.Lowered
  flops: float
  devices: int
  platform: str

  def compile(self) -> Cost:
    """Compiles it; seconds for a language model, minutes for a codec."""
    program = self.lowered.compile(COMPILE_FAST if self.platform == "cpu" else None)
    memory = program.memory_analysis()
    return Cost(
      state=_bytes_a_device(self.state, self.shardings),
      arguments=memory.argument_size_in_bytes,
      results=memory.output_size_in_bytes,
      reused=memory.alias_size_in_bytes,
      temporary=memory.temp_size_in_bytes,
      flops=self.flops / self.devices,
      compiler_flops=program.cost_analysis().get("flops", 0.0),
      collectives=collectives(program.as_text()),
    )


def trace(
  task: Task,
  batch: Shapes,
  mesh: Mesh,
  rules: sharding.Rules = sharding.DEFAULT_RULES,
  *,
  keep_state: bool = False,
) -> Step:
  """The step that `train.fit` runs, for a mesh of any devices, without data or weights.

  Args:
    task: whose step it is.
    batch: the whole batch's shapes.
    mesh: of devices of this machine, or of a topology (`jax.experimental.topologies`).
    rules: the sharding table.
    keep_state: see `step.checked`.

  Raises:
    ValueError: the mesh doesn't fit the state or the batch; it names the entry.
  """
  shared = {name: _shared(name, shape, mesh) for name, shape in batch.items()}
  key = jax.eval_shape(lambda: jax.random.key(0))
  target = mesh.devices.flat[0].platform
  with sharding.use_mesh(mesh), platform.assume(target):
    shapes = jax.eval_shape(task.init, key, shared)
    shardings = sharding.state_shardings(mesh, shapes, rules)
    state = jax.tree.map(_placed, shapes, shardings)
    whole = sharding.replicated(mesh)
    step = jax.jit(
      checked(task.train_step, keep_state=keep_state),
      donate_argnums=0,
      out_shardings=(shardings, whole, whole),
    )
    traced = step.trace(state, shared)
    lowered = traced.lower()
  cost = flops.count(traced.jaxpr)
  return Step(shapes, shardings, lowered, cost, mesh.size, target)


def _shared(name, shape, mesh) -> jax.ShapeDtypeStruct:
  parts = sharding.batch_parallelism(mesh)
  if shape.shape[0] % parts:
    raise ValueError(
      f"batch entry {name!r}: {shape.shape[0]} rows can't be shared evenly by {parts}"
      f" devices, mesh axes {' x '.join(sharding.BATCH_AXES)}"
    )
  return _placed(shape, sharding.batch_sharding(mesh))


def _placed(shape, where) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=where)


def _bytes_a_device(state, shardings) -> int:
  pairs = zip(jax.tree.leaves(state), jax.tree.leaves(shardings), strict=True)
  return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in pairs)
