"""Gradient accumulation: a batch in parts gives what the whole batch gives."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_codec import Decoder, Discriminator, Encoder

from jaxcodec import losses
from jaxcodec.codecs.codec import Codec
from jaxcodec.parallel import sharding
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.slm import masking
from jaxcodec.tasks.accumulation import mean_over_parts
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.train.step import observe

B, N = 8, 200


@pytest.fixture(scope="module")
def batch():
  noise = np.random.default_rng(0).standard_normal((B, N)).astype(np.float32)
  return {"audio_BxN": 0.3 * noise, "length_B": np.full(B, N, np.int32)}


def _task(quantizer, **options):
  weights = dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25)
  codec = Codec(Encoder(), quantizer, Decoder(), 1000)
  sgd = optax.sgd(0.1)
  scales = dict(mel_scales=((32, 5),))
  return CodecGanTask(codec, Discriminator(), sgd, sgd, weights, **scales, **options)


def _close(a, b):
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b
  )


@pytest.fixture(scope="module")
def whole(batch):
  """Returns a task, its first state, and its state and metrics after a step."""
  task = _task(FactorizedRVQ(Encoder.output_dim, 2, 8, 3, dropout=0.0))
  state = jax.jit(task.init)(jax.random.key(0), batch)
  return task, state, *jax.jit(task.train_step)(state, batch)


def test_a_codec_and_its_discriminators_learn_the_same_in_parts(whole, batch):
  task, state, expected, metrics = whole
  parts = dataclasses.replace(task, accumulate=4)
  updated, found = jax.jit(parts.train_step)(state, batch)
  for name in ("params", "ema", "opt", "disc_params", "disc_opt"):
    _close(getattr(updated, name), getattr(expected, name))
  assert found.keys() == metrics.keys()
  np.testing.assert_array_equal(found["codes_BxTxK"], metrics["codes_BxTxK"])
  for name in ("loss", "mel", "disc", "commitment", "grad_norm", "disc_grad_norm"):
    np.testing.assert_allclose(found[name], metrics[name], rtol=1e-5, err_msg=name)


def test_parts_on_eight_devices(whole, batch):
  task, state, expected, metrics = whole
  mesh = sharding.make_mesh({"data": 2, "fsdp": 2})
  parts = dataclasses.replace(task, accumulate=2)
  with sharding.use_mesh(mesh):
    shardings = sharding.state_shardings(mesh, state, sharding.DEFAULT_RULES)
    step = jax.jit(parts.train_step, out_shardings=(shardings, None))
    put = sharding.put_batch(mesh, batch)
    updated, found = step(jax.device_put(state, shardings), put)
  _close(updated.params, expected.params)
  np.testing.assert_allclose(found["loss"], metrics["loss"], rtol=1e-5)


def test_codebooks_take_the_parts_as_they_come(batch):
  """Compares codebooks after a step with those of two steps on half a batch each."""
  options = dict(dropout=0.0, threshold_ema_dead_code=0, kmeans_iters=1)
  task = _task(EmaRVQ(Encoder.output_dim, 2, 8, **options), accumulate=2)
  state = jax.jit(task.init)(jax.random.key(0), batch)
  updated, _ = jax.jit(task.train_step)(state, batch)
  books = state.collections
  key = jax.random.fold_in(state.rng, 0)

  @jax.jit
  def coded(books, number):
    x_BxNx1 = jnp.array(batch["audio_BxN"]).reshape(-1, 2, N, 1)[:, number]
    rngs = {"quantizer": jax.random.fold_in(key, number)}
    variables = {"params": state.params, **books}
    return task.codec.apply(
      variables, x_BxNx1, train=True, rngs=rngs, mutable=list(books)
    )[1]

  for number in range(2):
    books = coded(books, number)
  _close(updated.collections, dict(books))


def test_a_balancer_runs_in_parts(batch):
  balancer = losses.Balancer()
  quantizer = FactorizedRVQ(Encoder.output_dim, 2, 8, 3)
  task = _task(quantizer, accumulate=2, balancer=balancer)
  state = jax.eval_shape(task.init, jax.random.key(0), batch)
  after, _ = jax.eval_shape(task.train_step, state, batch)
  assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize("per_item", [True, False])
def test_a_balanced_step_is_as_large_in_parts(batch, per_item):
  """Of a batch of equal rows, whose parts have the norms of the whole."""
  same = {name: np.repeat(array[:1], 4, axis=0) for name, array in batch.items()}
  quantizer = FactorizedRVQ(Encoder.output_dim, 2, 8, 3, dropout=0.0)
  params = {}
  for parts in (1, 2):
    balancer = losses.Balancer(per_item=per_item)
    task = _task(quantizer, accumulate=parts, balancer=balancer)
    state = jax.jit(task.init)(jax.random.key(0), same)
    params[parts] = jax.jit(task.train_step)(state, same)[0].params
  _close(params[2], params[1])


def test_a_skipped_step_keeps_both_optimisers_and_their_models(whole, batch):
  task, state, _, _ = whole
  step = jax.jit(observe(task, keep_state=True))
  spoilt = {
    **batch,
    "audio_BxN": np.where(np.arange(N) == 7, np.nan, batch["audio_BxN"]),
  }
  kept, (metrics, finite, _) = step(state, spoilt)
  assert not finite and np.isnan(metrics["grad_norm"])
  assert np.isnan(metrics["disc_grad_norm"])
  jax.tree.map(np.testing.assert_array_equal, kept.replace(rng=0), state.replace(rng=0))
  updated, (_, finite, _) = step(kept, batch)
  assert finite and updated.step == 1


class Linear:
  """Stands in for a speech language model; its loss draws nothing."""

  def init_params(self, rng, batch):
    return {"kernel": jnp.ones((3, 1))}

  def loss(self, params, rng, batch):
    error_BxT = (batch["x_BxTxD"] @ params["kernel"])[..., 0] - 1
    loss = masking.mean_over(error_BxT**2, batch["mask_BxT"])
    return loss, {"loss": loss}


def test_an_slm_learns_the_same_in_parts():
  """Of rows of all lengths, so that a part has more frames than another, or none."""
  x_BxTxD = np.random.default_rng(0).standard_normal((12, 5, 3)).astype(np.float32)
  length_B = np.array([5, 1, 0, 4, 1, 0, 5, 2, 0, 3, 1, 0])
  batch = {"x_BxTxD": x_BxTxD, "mask_BxT": np.arange(5)[None] < length_B[:, None]}
  found = []
  for parts in (1, 3):
    task = SlmTask(Linear(), steps=10, warmup_steps=0, accumulate=parts)
    state = task.init(jax.random.key(0), batch)
    found.append(jax.jit(task.train_step)(state, batch))
  _close(found[0][0].params, found[1][0].params)
  _close(found[0][1], found[1][1])


def test_unequal_parts_are_refused():
  with pytest.raises(ValueError, match="x: 3 equal parts cannot be made of 8 rows"):
    mean_over_parts(lambda *args: args, (), {"x": jnp.zeros(8)}, 3)
