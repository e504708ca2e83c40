"""The dry run: costs against closed forms, and what it prints."""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import compile_flags
import jax
import jax.numpy as jnp
import optax
import pytest
from test_configs import DAC_MASKGIT, ROOT, load, tiny

from jaxcodec.build.check import check
from jaxcodec.build.fields import ConfigError
from jaxcodec.dry_run import roofline, step_cost
from jaxcodec.dry_run.command import make_devices, report, trace
from jaxcodec.dry_run.shapes import training
from jaxcodec.parallel import sharding
from jaxcodec.pipeline.checks import check_batches
from jaxcodec.pipeline.experiment import plain

B, D, F = 16, 64, 32


class Task:
  """A task whose loss is the mean square of products with one matrix."""

  def init(self, rng, batch):
    return {"kernel": jax.random.normal(rng, (D, F))}

  def train_step(self, state, batch):
    def loss(state):
      return jnp.mean((batch["x_BxD"] @ state["kernel"]) ** 2)

    value, grads = jax.value_and_grad(loss)(state)
    return optax.apply_updates(state, grads), {"loss": value}


@pytest.fixture(scope="module")
def cost():
  mesh = sharding.make_mesh({"data": 8})
  batch = {"x_BxD": jax.ShapeDtypeStruct((B, D), jnp.float32)}
  return step_cost.trace(Task(), batch, mesh).compile()


def test_cost_of_a_matrix(cost):
  kernel, rows = 4 * D * F, 4 * B // 8 * D
  assert (cost.state, cost.arguments) == (kernel, kernel + rows)
  assert kernel == cost.reused <= cost.results < kernel + 64
  assert cost.memory == cost.arguments + cost.results - cost.reused + cost.temporary
  # Two products, forward and the kernel's gradient; a multiply-add is two.
  assert cost.flops * 8 == cost.model_flops * 8 == 2 * 2 * B * D * F
  products = 2 * 4 * (B * D + D * F + B * F) / 8
  assert cost.moved == products + cost.arguments + cost.results
  assert {c.kind for c in cost.collectives} == {"all-reduce"}
  scalars = cost.sent - 2 * 7 / 8 * kernel
  assert 0 < scalars < 8 * 64


def test_report_names_the_figures(cost):
  text = report(cost)
  assert f"state {cost.state / 1e3:.4g} kB" in text
  assert f"FLOPs a device: {cost.flops:.4g}" in text
  assert "all-reduce among 8" in text
  assert "H200: " in text


def test_the_slowest_of_three_bounds_a_step(cost):
  half = dataclasses.replace(cost, single_flops=0)
  amount = {"flops": cost.flops, "memory": cost.moved, "network": cost.sent}
  names = {"flops": "compute", "memory": "memory", "network": "network"}
  for slowest, name in names.items():
    rates = {**dict.fromkeys(amount, 1e9), slowest: 1.0}
    found = roofline.bound(half, _chip(**rates))
    assert (found.seconds, found.by) == (amount[slowest], name)
  assert roofline.bound(half, _chip(1.0, 1e9, 1e9)).mfu == 1


def _chip(flops, memory, network):
  """A chip that multiplies float32 at half the rate, and all bits at an eighth."""
  return roofline.Chip(flops, flops / 2, flops / 8, memory, network)


def test_products_of_float32_take_the_time_that_a_chip_needs_for_them(cost):
  half = dataclasses.replace(cost, single_flops=0)
  found = []
  for step in (half, cost, dataclasses.replace(half, exact_flops=cost.flops)):
    found.append(roofline.bound(step, _chip(1.0, 1e9, 1e9)).seconds)
  assert found == [cost.flops, 2 * cost.flops, 8 * cost.flops]


def test_rows_that_cannot_be_shared_are_named():
  config = plain(tiny(DAC_MASKGIT))
  config["slm_train"] = {**config["slm_train"], "batch_size": 12}
  mesh, models = sharding.make_mesh({"data": 8}), check(config)
  with pytest.raises(ConfigError, match=r"slm_train.batch_size \(12\) .* 8 devices"):
    check_batches(config, mesh, models.spec, ["slm"])
  with pytest.raises(ConfigError, match="slm, mesh: .* 12 rows can't .* by 8 devices"):
    trace(config, models, "slm", mesh)
  with pytest.raises(ConfigError, match="a number, or a TPU topology.*got 'many'"):
    make_devices("many")


def test_a_topology_without_the_tpu_compiler_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ConfigError, match=r"devices=v5p:2x2x2: .* install \"jax\[tpu\]"):
    make_devices("v5p:2x2x2")


def test_whole_utterances_fill_their_budget():
  """Checks the shapes of the widest batch that training would see."""
  config = load(ROOT / "configs" / "dac_valle.py", "runlocal")
  config.text.front_end = "characters"
  config = plain(config)
  task, batch = training(config, check(config), "slm", 4)
  rows, frames, books = batch["codes_BxTxK"].shape
  assert (rows, frames, books) == (4, 400, 8)  # 8 s at 50 Hz, 4 of them in 1600 frames
  symbols = config["text"]["max_symbols"] + 2  # between begin and end
  assert batch["text_BxS"].shape == batch["text_mask_BxS"].shape == (4, symbols)
  key = jax.eval_shape(lambda: jax.random.key(0))
  assert jax.eval_shape(task.init, key, batch).params.keys() == {"ar", "nar"}


def test_command_line_on_devices_that_are_not_here():
  """Runs the README's command with small sizes."""
  command = [
    sys.executable,
    "launch/main.py",
    f"--config={DAC_MASKGIT}:runlocal",
    "--dry_run",
    "--devices=64",
    "--config.stages=slm",
    "--config.mesh.fsdp=4",
    "--config.slm_train.batch_size=64",
    "--config.slm.width=32",
    "--config.slm.depth=1",
  ]
  env = {**os.environ, "XLA_FLAGS": compile_flags.FAST}
  done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  head, mesh = done.stdout.splitlines()[:2]
  assert head.startswith("64 devices: virtual CPU devices")
  assert mesh == "mesh: data=16, fsdp=4, tensor=1"
  assert "params/transformer/layers/qkv/kernel" in done.stdout
  assert "| params/transformer " in done.stdout  # the overview, a row a module
  for part in ("memory a device", "FLOPs a device", "a device sends", "all-reduce"):
    assert part in done.stdout
