"""Steps that are not finite, and the rates in the log."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_toy
from jax import lax
from train_toy import Data, bits, fit

from jaxcodec.parallel import sharding
from jaxcodec.train import flops, nonfinite, rates
from jaxcodec.train.metrics_file import read_metrics


def _spoilt(*numbers):
  """Returns data in which the batches of these numbers hold a NaN."""

  def spoil(number, batch):
    if number in numbers:
      batch["x_BxD"][0] = np.nan
    return batch

  return Data(spoil=spoil)


class Without(Data):
  """Data without the batch of one number."""

  def __init__(self, missing):
    super().__init__(spoil=lambda n, b: train_toy.make_batch(n + (n >= missing)))


def test_a_skipped_step_is_as_if_its_batch_had_not_been(tmp_path):
  skipped = fit(tmp_path / "a", 10, data=_spoilt(6), skip_nonfinite=1)
  assert bits(skipped) == bits(
    fit(tmp_path / "b", 9, data=Without(6), skip_nonfinite=1)
  )
  counts = [r["skipped_steps"] for r in read_metrics(tmp_path / "a") if "loss" in r]
  assert counts == [0] * 6 + [1] * 4
  (record,) = json.loads((tmp_path / "a" / nonfinite.FILE).read_text())
  assert record["step"] == 7 and record["index_B"] == list(range(48, 56))


def test_the_limit_holds_over_interruptions(tmp_path):
  data = _spoilt(2, 6)
  fit(tmp_path / "a", 5, data=data, skip_nonfinite=2)
  resumed = fit(tmp_path / "a", 10, data=data, skip_nonfinite=2)
  straight = fit(tmp_path / "b", 10, data=data, skip_nonfinite=2)
  assert bits(resumed) == bits(straight)
  assert read_metrics(tmp_path / "a")[-1]["skipped_steps"] == 2
  fit(tmp_path / "c", 5, data=data, skip_nonfinite=1)
  with pytest.raises(
    nonfinite.NonFiniteError, match="step 7: .*, in 2 steps of at most 1"
  ):
    fit(tmp_path / "c", 10, data=data, skip_nonfinite=1)


def test_chosen_steps_are_traced(tmp_path):
  fit(tmp_path, 3, profile_steps=(2, 3))
  assert list((tmp_path / "profile").rglob("*.trace.json.gz"))
  with pytest.raises(ValueError, match=r"profile_steps must be \(first, last\)"):
    fit(tmp_path / "a", 3, profile_steps=(3, 2))


def test_flops_are_those_of_the_closed_form_and_of_xla():
  def loss(kernels, x_BxTxC):
    y = lax.conv_general_dilated(
      x_BxTxC,
      kernels[0],
      window_strides=(2,),
      padding=((1, 1),),
      dimension_numbers=("NHC", "HIO", "NHC"),
    )
    return ((y @ kernels[1]) ** 2).sum()

  x, kernels = jnp.ones((8, 400, 16)), (jnp.ones((4, 16, 32)), jnp.ones((32, 64)))
  step = jax.jit(jax.value_and_grad(loss)).trace(kernels, x)
  conv, product = 2 * 8 * 200 * 4 * 16 * 32, 2 * 8 * 200 * 32 * 64
  # Forward, and the gradients of the kernels and of what is between them.
  found = flops.count(step.jaxpr)
  assert found.total == found.model == 2 * conv + 3 * product
  x_size, y_size, z_size = 8 * 400 * 16, 8 * 200 * 32, 8 * 200 * 64
  kernel, matrix = 4 * 16 * 32, 32 * 64
  convolved, multiplied = x_size + kernel + y_size, y_size + matrix + z_size
  assert found.moved == 4 * (2 * convolved + 3 * multiplied)
  assert found.total == pytest.approx(
    step.lower().compile().cost_analysis()["flops"], rel=0.1
  )


def test_flops_of_loops_and_branches():
  w = jnp.ones((16, 16))
  once = 2 * 4 * 16 * 16

  def scanned(x):
    return lax.scan(lambda x, _: (jax.checkpoint(lambda a: a @ w)(x), None), x, None, 5)

  def chosen(x):
    return lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x @ w, x)

  x = jnp.ones((4, 16))
  assert flops.count(jax.make_jaxpr(scanned)(x))[:2] == (5 * once, 0)
  assert flops.count(jax.make_jaxpr(chosen)(x))[:2] == (2 * once, 0)


def test_flops_of_float32_are_counted_by_their_precision():
  half, single = jnp.ones((4, 16), jnp.bfloat16), jnp.ones((16, 8))
  once = 2 * 4 * 16 * 8

  def product(x, precision=None):
    return jnp.matmul(x, single.astype(x.dtype), precision=precision)

  found = lambda *args: flops.count(jax.make_jaxpr(product)(*args))  # noqa: E731
  assert found(half)[3:] == (0, 0)
  assert found(half.astype("f4"))[3:] == (once, 0)
  with jax.default_matmul_precision("highest"):
    assert found(half.astype("f4"))[3:] == (0, once)


def test_flops_that_are_computed_again_are_counted_apart():
  w = jnp.ones((5, 16, 16))
  once = 2 * 4 * 16 * 16

  def loss(w, x, policy):
    def layer(x, w):
      return jnp.sin(x @ w) @ w, None

    return lax.scan(jax.checkpoint(layer, policy=policy), x, w)[0].sum()

  def work(policy):
    grad = jax.grad(lambda w, x: loss(w, x, policy), (0, 1))
    return flops.count(jax.make_jaxpr(grad)(w, jnp.ones((4, 16))))

  # Two products forward, four backward; the first is needed again.
  assert work(None)[:2] == (5 * 6 * once, 5 * once)
  assert work(jax.checkpoint_policies.dots_saveable)[:2] == (5 * 6 * once, 0)


class Device:
  process_index = 0

  def __init__(self, kind, stats):
    self.device_kind, self.memory_stats = kind, lambda: stats


def test_the_peaks_of_devices_by_their_names():
  peak = lambda kind: flops.peak(Device(kind, None))  # noqa: E731
  assert peak("NVIDIA H100 80GB HBM3") == 989e12
  assert peak("NVIDIA A100-SXM4-80GB") == 312e12
  assert peak("TPU v5 lite") < peak("TPU v5p") == 459e12
  assert peak("cpu") is None


def test_rates_of_a_window(monkeypatch):
  clock = iter([100.0, 101.0, 104.0, 104.0, 104.0])
  monkeypatch.setattr(rates.time, "monotonic", lambda: next(clock))

  class Batches:
    wait_seconds = 7.0

  class Mesh:
    devices = np.array([Device("TPU v4", {"peak_bytes_in_use": n}) for n in (5, 6)])
    size = 2

  found = rates.Rates(Batches, Mesh)
  found.restart()
  found.tick(flops.Work(200e12, 75e12), 8)
  found.skip(1.0)
  Batches.wait_seconds = 8.5
  found.tick(flops.Work(200e12, 75e12), 8)
  assert found.take() == {
    "step_seconds": 1.5,
    "step_seconds_std": 0.5,
    "examples_per_s": pytest.approx(16 / 3),
    "examples_per_s_per_device": pytest.approx(8 / 3),
    "input_wait_fraction": 0.5,
    "flops_per_s_per_device": pytest.approx(275e12 / 3),
    "mfu": pytest.approx(200 / 275 / 3),
    "hfu": pytest.approx(1 / 3),
    "device_memory_peak_bytes": 6.0,
  }
  assert found.take() == {}


def test_the_log_has_the_flops_of_the_step(tmp_path):
  fit(tmp_path, 3, mesh=sharding.make_mesh({"data": 2}))
  record = read_metrics(tmp_path)[-1]
  # Two layers: forward, and the gradients of the kernels and of the hidden values.
  expected = 2 * 8 * (8 * 16 * 2 + 16 * 1 * 3)
  achieved = record["flops_per_s_per_device"] * record["step_seconds"] * 2
  assert achieved == pytest.approx(expected)
  assert "mfu" not in record and "device_memory_peak_bytes" not in record
