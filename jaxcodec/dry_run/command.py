"""`--dry_run`: what training costs on devices that aren't here, without any data."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental import topologies

from jaxcodec.build.check import Models, check
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.resolve import resolve
from jaxcodec.dry_run import roofline, step_cost
from jaxcodec.dry_run.shapes import STAGES, training
from jaxcodec.parallel import sharding
from jaxcodec.pipeline.checks import check_batches
from jaxcodec.pipeline.experiment import plain
from jaxcodec.train import overview
from jaxcodec.train.step import phases

_CPU = (
  "virtual CPU devices, by XLA's CPU compiler: bfloat16 may be held and sent as"
  " float32, and sums are not scattered; shapes, shardings and FLOPs are the same"
)
_TPU = "a topology, by the TPU's own compiler; no TPU is used"
# Without these, libtpu asks for the TPU machine that it runs on, and there is none; and
# one process alone can have it, as of those that use a TPU.
_LIBTPU_ENVIRONMENT = {
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_ACCELERATOR_TYPE": "v5p-8",
}


def run(config: Any, devices: str) -> None:
  """Compiles each training step of `config.stages` and prints what it costs.

  Args:
    config: a ConfigDict with the fields of configs/dac_maskgit.py.
    devices: number or TPU topology; see `make_devices`.

  Raises:
    ConfigError: naming the field; before anything is compiled.
  """
  config = resolve(plain(config))
  models = check(config)
  stages, available = _training_stages(config), make_devices(devices)
  try:
    mesh = sharding.make_mesh(config["mesh"], available)
  except ValueError as error:
    raise ConfigError(str(error)) from error
  check_batches(config, mesh, models.spec, stages)
  steps = {name: trace(config, models, name, mesh) for name in stages}
  kind = available[0].device_kind
  what = _CPU if available[0].platform == "cpu" else f"{kind}, {_TPU}"
  sizes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
  print(f"{len(available)} devices: {what}\nmesh: {sizes}")
  for name, step in steps.items():
    print(f"\n{name}: the parameters\n\n{overview.summarize(step.state)}", flush=True)
    print(f"\n{name}: the state, and the mesh axes that share it\n", flush=True)
    print(sharding.describe(step.state), flush=True)
    print(f"\n{name}: a step\n\n{report(step.compile())}", flush=True)


def make_devices(text: str) -> list[jax.Device]:
  """Parses `--devices`: an integer gives virtual CPU devices, `v5p:4x4x8` a topology.

  Must be called before JAX has looked for devices. A TPU topology needs libtpu, which
  `pip install "jax[tpu]"` installs on any Linux machine, but no TPU.

  Raises:
    ConfigError: `text` is neither, libtpu is missing, or it doesn't know the topology.
  """
  if not (text.isdecimal() and int(text)) and ":" not in text:
    raise ConfigError(
      f"devices must be a number, or a TPU topology such as v5p:4x4x8, got {text!r}"
    )
  jax.config.update("jax_platforms", "cpu")
  if ":" not in text:
    jax.config.update("jax_num_cpu_devices", int(text))
    return jax.devices()
  if importlib.util.find_spec("libtpu") is None:
    raise ConfigError(
      f"devices={text}: a TPU topology needs libtpu, which is not installed:"
      ' pip install "jax[tpu]"; without it, give a number of devices'
    )
  for name, value in _LIBTPU_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  try:
    return topologies.get_topology_desc(text, "tpu").devices
  except Exception as error:
    raise ConfigError(f"devices={text}: no such topology: {error}") from error


def trace(
  config: Mapping[str, Any], models: Models, name: str, mesh: jax.sharding.Mesh
) -> step_cost.TracedStep:
  """Traces the step of a training stage, `codec` or `slm`, for a config of plain dicts.

  Of a task with phases it is the last one's, in which all of its models take part.

  Raises:
    ConfigError: the mesh doesn't fit; it names the field.
  """
  task, batch = training(config, models, name, sharding.batch_parallelism(mesh))
  try:
    skips = config[f"{name}_train"]["skip_nonfinite"] > 0
    task = [*phases(task).values()][-1]
    return step_cost.trace(task, batch, mesh, keep_state=skips)
  except ValueError as error:
    raise ConfigError(f"{name}, mesh: {error}") from error


def report(cost: step_cost.StepCost) -> str:
  """Formats memory, FLOPs, collectives and the least time of a step, in some lines."""
  lines = [
    f"memory a device: {_bytes(cost.memory)} at once",
    f"  {_bytes(cost.arguments)} state and batch (state {_bytes(cost.state)})",
    f"  {_bytes(cost.temporary)} temporary",
    f"  {_bytes(cost.results)} results, {_bytes(cost.reused)} of them in place",
    f"FLOPs a device: {cost.flops:.4g} in matrix products and convolutions",
    f"  {cost.single_flops:.4g} of them of float32, {cost.exact_flops:.4g} in all bits",
    f"  {cost.compiler_flops:.4g} by cost_analysis, which counts loops' bodies once",
    f"a device sends: {_bytes(cost.sent)} (ring algorithms)",
  ]
  kinds: dict[tuple[str, int], list] = {}
  for c in cost.collectives:
    kinds.setdefault((c.kind, len(c.groups[0])), []).append(c)
  for (kind, among), group in sorted(kinds.items(), key=lambda item: -_sent(item[1])):
    times = sum(c.times for c in group)
    unsure = "" if all(c.counted for c in group) else ", more where loops repeat it"
    lines.append(f"  {_bytes(_sent(group))} in {times} {kind} among {among}{unsure}")
  lines += [f"products move: {_bytes(cost.moved)}", roofline.table(cost)]
  return "\n".join(lines)


def _training_stages(config: Mapping[str, Any]) -> list[str]:
  wanted = [name.strip() for name in config["stages"].split(",")]
  if not (found := [name for name in STAGES if name in wanted]):
    raise ConfigError(f"stages: none of {', '.join(STAGES)}, which alone are trained")
  return found


def _sent(collectives) -> float:
  return sum(c.sent for c in collectives)


def _bytes(count: float) -> str:
  for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
    if count >= size:
      return f"{count / size:.4g} {unit}"
  return f"{count:.0f} B"
