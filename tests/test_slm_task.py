"""Training a language model: resume, devices, schedule, use of the condition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.tasks import slm
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=2, codebook_size=8, hop=320, sample_rate=16_000)


def _task(**options):
  model = MaskGit(SPEC, num_semantic=8, width=16, depth=1, heads=2, dropout=0.1)
  options = {"steps": 150, "warmup_steps": 10, "learning_rate": 2e-2} | options
  return slm.SlmTask(model, **options)


def _batch(rows=8, frames=10, seed=0):
  """Makes codes that are a function of the semantic tokens, which a model can learn."""
  rng = np.random.default_rng(seed)
  semantic = rng.integers(0, 8, (rows, frames)).astype(np.int32)
  codes = np.stack([(3 * semantic + 1) % 8, 7 - semantic], axis=-1).astype(np.int32)
  lengths = rng.integers(frames // 2, frames + 1, rows)
  return {
    "codes_BxTxK": codes,
    "semantic_BxT": semantic,
    "mask_BxT": np.arange(frames)[None] < lengths[:, None],
    "index_B": np.arange(rows, dtype=np.int32),
  }


@pytest.fixture(scope="module")
def begun():
  """Returns a task, its first state and its compiled step."""
  task = _task()
  return task, jax.jit(task.init)(jax.random.key(0), _batch()), jax.jit(task.train_step)


def test_steps_are_numbered_and_reproducible(begun):
  _, state, step = begun
  once, metrics = step(*step(state, _batch())[:1], _batch(seed=1))
  saved = jax.tree.map(np.asarray, step(state, _batch())[0])  # as a checkpoint has it
  again, _ = step(saved, _batch(seed=1))
  jax.tree.map(np.testing.assert_array_equal, once, again)
  assert once.step == 2 and once.step.dtype == jnp.int32
  assert all(np.isfinite(v) and v.shape == () for v in metrics.values())
  assert {"loss", "accuracy", "grad_norm", "learning_rate"} == set(metrics)


def test_each_step_draws_anew(begun):
  _, state, step = begun
  later = state.replace(step=state.step + 1)
  losses = [step(one, _batch())[1]["loss"] for one in (state, later)]
  assert losses[0] != losses[1]


def test_one_and_eight_devices_agree(begun):
  task, state, step = begun
  mesh = jax.sharding.Mesh(np.array(jax.devices()), "data")
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  evaluate = jax.jit(task.eval_step)
  spread = jax.device_put(state, everywhere), jax.device_put(_batch(), rows)
  assert len(spread[1]["mask_BxT"].sharding.device_set) == 8
  (one, metrics), (eight, metrics8) = step(state, _batch()), step(*spread)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)  # noqa: E731
  jax.tree.map(close, metrics, metrics8)
  jax.tree.map(close, one.opt_state, eight.opt_state)
  jax.tree.map(close, evaluate(state, _batch()), evaluate(*spread))


def test_schedule_and_average_are_as_asked(begun):
  task, state, step = begun
  after, metrics = step(state.replace(step=jnp.int32(5)), _batch())
  assert metrics["learning_rate"] == pytest.approx(0.5 * 2e-2)
  _, metrics = step(state.replace(step=jnp.int32(80)), _batch())
  assert metrics["learning_rate"] == pytest.approx((0.05 + 0.95 / 2) * 2e-2)
  new = 9 / 15  # 1 - (1 + step) / (10 + step), young averages follow faster
  for got, x, y in zip(
    *map(jax.tree.leaves, (after.ema, state.ema, after.params)), strict=True
  ):
    want = np.asarray(x) * (1 - new) + np.asarray(y) * new
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
  assert task.inference_variables(after)["params"] is after.ema


def test_without_an_average_the_weights_themselves_are_exported():
  task = _task(ema_decay=0)
  state = jax.eval_shape(task.init, jax.random.key(0), _batch())
  assert state.ema is None
  assert task.inference_variables(state)["params"] is state.params


def test_weight_decay_touches_matrices_only(begun):
  decayed = slm._decayed(begun[1].params)
  by_name = {
    path[-1].key: x for path, x in jax.tree_util.tree_leaves_with_path(decayed)
  }
  assert by_name == {"kernel": True, "head": True} | dict.fromkeys(
    ("code_embed", "embedding", "gain"), False
  )


def test_training_learns_to_use_the_condition(begun):
  task, state, step = begun
  evaluate = jax.jit(task.eval_step)
  before = evaluate(state, _batch(seed=99))
  assert abs(before["ce_c0"] - before["ce_c0_wrong_semantic"]) < 0.3
  for i in range(150):
    state, _ = step(state, _batch(seed=i))
  after = evaluate(state, _batch(seed=99))
  assert after["ce_c0"] < 0.1
  assert after["ce_c0_wrong_semantic"] > after["ce_c0"] + 1
  assert after["gain_per_codebook"][0] > 1
  assert after["accuracy_per_codebook"].min() > 0.95
  np.testing.assert_allclose(after["ce_c0"], after["ce_per_codebook"][0])


def test_a_warmup_that_never_ends_is_named():
  with pytest.raises(ValueError, match=r"warmup_steps must be below steps \(150\)"):
    _task(warmup_steps=150)
