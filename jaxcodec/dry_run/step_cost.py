"""Compiles a training step for devices that need not be there; reads what it costs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from jaxcodec.dry_run.collectives import Collective, collectives
from jaxcodec.nn import platform
from jaxcodec.parallel import sharding
from jaxcodec.train import flops
from jaxcodec.train.step import COMPILE_FAST, observe, outcome_shardings
from jaxcodec.types import Task

Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class StepCost:
  """What one step costs a device; all but FLOPs and `moved` as its compiler planned.

  Attributes:
    state: bytes of parameters, optimisers and the like, which stay between steps.
    arguments: bytes of the state and the batch.
    results: bytes of the new state and the metrics.
    reused: bytes of arguments that results overwrite.
    temporary: bytes of everything in between.
    flops: of matrix products and convolutions, loops counted in full.
    model_flops: those of them that aren't computed again to save memory.
    single_flops, exact_flops: those of them of float32; see `flops.Work`.
    moved: bytes that these products read and write, and arguments and results once.
    compiler_flops: XLA's `cost_analysis`, which counts the body of a loop once.
    collectives: everything that the device exchanges with others.
  """

  state: int
  arguments: int
  results: int
  reused: int
  temporary: int
  flops: float
  model_flops: float
  single_flops: float
  exact_flops: float
  moved: float
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
class TracedStep:
  """A task's step traced for a mesh, not compiled yet.

  Attributes:
    state: the train state as `ShapeDtypeStruct`s with shardings.
    lowered: the program to compile.
    work: of the whole step, on all devices.
    devices: how many.
    platform: such as "cpu" or "tpu".
  """

  state: Any
  lowered: jax.stages.Lowered
  work: flops.Work
  devices: int
  platform: str

  @property
  def shardings(self) -> Any:
    """The shardings of the state's leaves."""
    return jax.tree.map(lambda leaf: leaf.sharding, self.state)

  def build(self) -> jax.stages.Compiled:
    """Compiles it; seconds for a language model, minutes for a codec."""
    return self.lowered.compile(COMPILE_FAST if self.platform == "cpu" else None)

  def compile(self) -> StepCost:
    """Compiles it, and returns what it costs."""
    return self.cost(self.build())

  def cost(self, program: jax.stages.Compiled) -> StepCost:
    """Reads what the compiled step costs."""
    memory = program.memory_analysis()
    return StepCost(
      state=sum(map(sharding.bytes_per_device, jax.tree.leaves(self.state))),
      arguments=memory.argument_size_in_bytes,
      results=memory.output_size_in_bytes,
      reused=memory.alias_size_in_bytes,
      temporary=memory.temp_size_in_bytes,
      flops=self.work.total / self.devices,
      model_flops=self.work.model / self.devices,
      single_flops=self.work.single / self.devices,
      exact_flops=self.work.exact / self.devices,
      moved=self.work.moved / self.devices
      + memory.argument_size_in_bytes
      + memory.output_size_in_bytes,
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
) -> TracedStep:
  """Traces the step that `loop.fit` runs for a mesh, without data or weights.

  Args:
    task: whose step it is.
    batch: the whole batch's shapes.
    mesh: of devices of this machine, or of a topology (`jax.experimental.topologies`).
    rules: the sharding table.
    keep_state: see `step.observe`.

  Raises:
    ValueError: the mesh doesn't fit the state or the batch; it names the entry.
  """
  batch = {name: _place_rows(name, shape, mesh) for name, shape in batch.items()}
  key = jax.eval_shape(lambda: jax.random.key(0))
  target = mesh.devices.flat[0].platform
  with sharding.use_mesh(mesh), platform.assume(target):
    shapes = jax.eval_shape(task.init, key, batch)
    shardings = sharding.state_shardings(mesh, shapes, rules)
    state = sharding.place_shapes(shapes, shardings)
    step = jax.jit(
      observe(task, keep_state=keep_state),
      donate_argnums=0,
      out_shardings=(shardings, outcome_shardings(mesh)),
    )
    traced = step.trace(state, batch)
    lowered = traced.lower()
  return TracedStep(
    state=state,
    lowered=lowered,
    work=flops.count(traced.jaxpr),
    devices=mesh.size,
    platform=target,
  )


def _place_rows(
  name: str, shape: jax.ShapeDtypeStruct, mesh: Mesh
) -> jax.ShapeDtypeStruct:
  parts = sharding.batch_parallelism(mesh)
  if shape.shape[0] % parts:
    raise ValueError(
      f"batch entry {name!r}: {shape.shape[0]} rows can't be shared evenly by {parts}"
      f" devices, mesh axes {' x '.join(sharding.BATCH_AXES)}"
    )
  return sharding.place_shapes(shape, sharding.batch_sharding(mesh))
