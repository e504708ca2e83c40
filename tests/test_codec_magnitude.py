"""Training of the codec of magnitudes."""

import dataclasses

import jax
import jax.numpy as jnp
import magnitude_helpers
import numpy as np
import optax
import pytest

from jaxcodec.tasks.codec_magnitude import CodecMagnitudeTask
from jaxcodec.tasks.magnitude_start import start

AUDIO = magnitude_helpers.voices(4, 20)
WEIGHTS = dict(magnitude=40.0, bands=20.0, commitment=10.0)
BATCH = {"audio_BxN": AUDIO, "length_B": np.full(4, AUDIO.shape[1], np.int32)}


@pytest.fixture(scope="module")
def task():
  codec = magnitude_helpers.fresh()[0]
  opt = optax.adam(5e-3)
  return CodecMagnitudeTask(codec, opt, WEIGHTS, ((64, 10),), ema_decay=0.9)


@pytest.fixture(scope="module")
def state(task):
  """Begun with the start."""
  codec, fresh = magnitude_helpers.fresh()
  begun = start(codec, fresh, jax.random.key(1), AUDIO, batch_frames=80)
  state = jax.jit(task.init)(jax.random.key(0), BATCH)
  return jax.jit(task.start_from)(state, begun)


def test_training_lowers_every_term_from_random_weights(task):
  step, measure = jax.jit(task.train_step), jax.jit(task.eval_step)
  state = now = jax.jit(task.init)(jax.random.key(0), BATCH)
  for _ in range(60):
    now, metrics = step(now, BATCH)
  before, after = measure(state, BATCH), measure(now, BATCH)
  assert now.step == 60 and np.isfinite(metrics["grad_norm"])
  for name in ("magnitude", "bands", "mel"):
    assert after[name] < 0.3 * before[name]
  total = sum(weight * metrics[name] for name, weight in WEIGHTS.items())
  np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), now.params, state.params)
  assert all(jax.tree.leaves(moved))


def test_a_start_is_kept_with_its_codebooks(task, state):
  random = jax.jit(task.init)(jax.random.key(0), BATCH)
  before, after = (jax.jit(task.eval_step)(s, BATCH) for s in (random, state))
  assert after["magnitude"] < 0.1 * before["magnitude"]
  _, metrics = jax.jit(task.train_step)(state, BATCH)
  # The first step would otherwise start the codebooks anew.
  np.testing.assert_allclose(metrics["magnitude"], after["magnitude"], rtol=1e-3)


def test_terms_by_hand(task):
  features = task.codec.encoder.features
  target = features.compress(features.magnitudes(AUDIO))
  terms = task._terms(AUDIO, target + 0.1)
  np.testing.assert_allclose(terms["magnitude"], 0.01, rtol=1e-4)
  exact = task._terms(AUDIO, target)
  assert exact["magnitude"] == 0 and exact["bands"] < 1e-5 < terms["bands"]


def test_the_average_lags_as_its_decay_says(task, state):
  now, _ = jax.jit(task.train_step)(state, BATCH)
  decay = 2 / 11
  expected = jax.tree.map(
    lambda old, new: decay * old + (1 - decay) * new, state.params, now.params
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), now.ema, expected
  )
  exported = task.inference_variables(now)
  assert exported["params"] is now.ema and set(exported) == {"params", "vq_stats"}


def test_parts_give_the_gradient_of_the_whole(task, state):
  """With codebooks that stay: each part would otherwise update them."""
  frozen = task.codec.quantizer.clone(decay=1.0, threshold_ema_dead_code=0.0)
  codec = task.codec.clone(quantizer=frozen)
  whole, parts = (
    jax.jit(dataclasses.replace(task, codec=codec, accumulate=n).train_step)(
      state, BATCH
    )
    for n in (1, 2)
  )
  np.testing.assert_allclose(parts[1]["grad_norm"], whole[1]["grad_norm"], rtol=1e-4)
  np.testing.assert_allclose(parts[1]["loss"], whole[1]["loss"], rtol=1e-4)


def test_items_without_audio_do_not_count(task, state):
  measure = jax.jit(task.eval_step)
  rows = {name: array[:3] for name, array in BATCH.items()}
  padded = {
    "audio_BxN": AUDIO * np.array([1, 1, 1, 0], np.float32)[:, None],
    "length_B": BATCH["length_B"] * np.array([1, 1, 1, 0], np.int32),
  }
  ours, alone = measure(state, padded), measure(state, rows)
  assert ours["weight"] == alone["weight"] == 3
  for name in ("mel", "magnitude", "bands"):
    np.testing.assert_allclose(ours[name], alone[name], rtol=2e-2)
  assert jnp.isfinite(ours["mel"])


def test_frozen_parts_keep_their_bits_and_the_decoder_learns(task, state):
  frozen = dataclasses.replace(task, freeze=("encoder", "quantizer"))
  rng = jax.random.key(3)
  given = {"params": {"encoder": state.params["encoder"]}, **state.collections}
  begun = jax.jit(frozen.init)(rng, BATCH).start_from(given)
  now, step = begun, jax.jit(frozen.train_step)
  for _ in range(10):
    now, metrics = step(now, BATCH)
  kept = [(s.params["encoder"], s.collections) for s in (begun, now)]
  jax.tree.map(np.testing.assert_array_equal, *kept)
  before, after = (jax.jit(frozen.eval_step)(s, BATCH) for s in (begun, now))
  assert after["magnitude"] < 0.9 * before["magnitude"] and metrics["grad_norm"] > 0
