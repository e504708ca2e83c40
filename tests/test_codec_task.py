import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.discriminators import DacDiscriminator
from jaxcodec.dry_run import collectives, step_cost
from jaxcodec.parallel import sharding
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.train.step import COMPILE_FAST

B, N, START = 8, 400, 2


@pytest.fixture(scope="module")
def task():
  codec = Codec(
    DacEncoder(2, (2, 5), latent_dim=8),
    FactorizedRVQ(8, 2, 16, 4, dropout=0.5),
    DacDecoder(8, (5, 2)),
    1000,
  )
  return CodecGanTask(
    codec,
    DacDiscriminator(periods=(2,), n_ffts=(), period_width=1, band_width=2),
    optax.adamw(1e-3, b1=0.8),
    optax.adamw(1e-3, b1=0.8),
    dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25),
    mel_scales=((32, 5), (64, 10)),
    adversarial_start=START,
    ema_decay=0.9,
  )


@pytest.fixture(scope="module")
def batch():
  t = np.arange(N) / 1000
  tones = [np.sin(2 * np.pi * (60 + 20 * b) * t) for b in range(B)]
  return {
    "audio_BxN": np.array(tones, np.float32) * 0.3,
    "length_B": np.full(B, N, np.int32),
    "index_B": np.arange(B, dtype=np.int32),
  }


@pytest.fixture(scope="module")
def step(task):
  return jax.jit(task.train_step)


@pytest.fixture(scope="module")
def run(task, batch, step):
  """Returns states and metrics of twenty steps on one device."""
  states, metrics = [jax.jit(task.init)(jax.random.key(0), batch)], []
  for _ in range(20):
    state, logged = step(states[-1], batch)
    states.append(state)
    metrics.append(jax.device_get(logged))
  return states, metrics


def _moved(a, b):
  return any(
    (x != y).any() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_the_loss_falls(run):
  _, metrics = run
  assert metrics[-1]["mel"] < metrics[0]["mel"]
  assert metrics[0]["perplexity"].shape == (2,)


def test_discriminators_wait_for_their_start(run):
  states, metrics = run
  assert not _moved(states[START].disc_params, states[0].disc_params)
  assert _moved(states[START + 1].disc_params, states[START].disc_params)
  assert [m["disc"] > 0 for m in metrics[:4]] == [False, False, True, True]
  assert [m["feature"] > 0 for m in metrics[:4]] == [False, False, True, True]


def test_total_is_the_weighted_sum(run, task):
  for m in run[1]:
    total = sum(weight * m[name] for name, weight in task.weights.items())
    np.testing.assert_allclose(m["loss"], total, rtol=1e-5)


def test_average_of_the_weights(run):
  """Compares with the recursion and its ramp in float64."""
  states, _ = run
  leaf = lambda state: np.float64(jax.tree.leaves(state)[0])  # noqa: E731
  expected = leaf(states[0].params)
  for t, state in enumerate(states[1:], 1):
    decay = min(0.9, (1 + t) / (10 + t))
    expected = decay * expected + (1 - decay) * leaf(state.params)
  np.testing.assert_allclose(leaf(states[-1].ema), expected, rtol=1e-5)


def test_gradient_by_the_pullback_is_that_of_the_whole_loss(task, batch, run):
  """Compares an SGD step with `jax.grad` of the loss written in one piece."""
  state = run[0][0]
  sgd = optax.sgd(1e-2)
  plain = CodecGanTask(
    task.codec, task.discriminator, sgd, sgd, task.weights, task.mel_scales, START
  )
  plain_state = state.replace(
    opt=sgd.init(state.params), disc_opt=sgd.init(state.disc_params)
  )
  new, _ = jax.jit(plain.train_step)(plain_state, batch)
  rngs = {"quantizer": jax.random.fold_in(state.rng, 0)}

  def whole(params):
    x = batch["audio_BxN"]
    y, q = task.codec.apply({"params": params}, x[..., None], train=True, rngs=rngs)
    terms = {"mel": task._mel(x, y[..., 0]), **q.losses}
    return sum(task.weights[name] * value for name, value in terms.items())

  grads = jax.jit(jax.grad(whole))(state.params)
  expected = jax.tree.map(lambda p, g: p - 1e-2 * g, state.params, grads)
  for a, b in zip(jax.tree.leaves(new.params), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(b).max()) + 1e-6)


def test_evaluation_ignores_filler_rows(task, batch, run):
  state = run[0][-1]
  evaluate = jax.jit(task.eval_step)
  half = {name: value[: B // 2] for name, value in batch.items()}
  filled = {name: value.copy() for name, value in batch.items()}
  filled["audio_BxN"][B // 2 :] = 0
  filled["length_B"][B // 2 :] = 0
  some, all_of_them = evaluate(state, half), evaluate(state, filled)
  assert some["weight"] == all_of_them["weight"] == B // 2
  for name in ("mel", "si_sdr", "perplexity", "usage"):
    np.testing.assert_allclose(some[name], all_of_them[name], rtol=1e-4)


def test_evaluation_tells_what_crops_lack(task, batch, run):
  """Compares with a codec applied by hand to whole rows and to their halves."""
  variables = task.inference_variables(run[0][-1])
  audio_BxN = batch["audio_BxN"]
  rows, samples = audio_BxN.shape
  # Whole; half a row, whose second half isn't measured; nothing; less than a crop.
  length_B = np.array([samples, samples // 2, 0, 1] + [0] * (rows - 4))
  crop = samples // 2
  decode = jax.jit(lambda x: task.codec.apply(variables, x[..., None])[0][..., 0])
  measured = jax.jit(dataclasses.replace(task, crop_samples=crop).eval_step)(
    run[0][-1], {**batch, "length_B": length_B}
  )
  assert measured["weight"] == 4
  pieces = [(0, 0), (0, 1), (1, 0), (3, 0)]
  real, whole = (
    np.stack([x[row, crop * i : crop * (i + 1)] for row, i in pieces])
    for x in (np.asarray(audio_BxN), np.asarray(decode(audio_BxN)))
  )
  for name, fake in (("mel", whole), ("mel_crops", np.asarray(decode(real)))):
    np.testing.assert_allclose(measured[name], task._mel(real, fake), rtol=1e-4)
  assert abs(measured["mel"] - measured["mel_crops"]) > 1e-3


@pytest.fixture(scope="module")
def eight(task, batch):
  """Returns the step for eight devices, its state's shardings and its batch."""
  mesh = sharding.make_mesh({"data": 4, "fsdp": 2})
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
  rules = sharding.Rules(sharding.DEFAULT_RULES.paths, sharding.DEFAULT_RULES.axes, 1)
  traced = step_cost.trace(task, shapes, mesh, rules)
  program = traced.lowered.compile(COMPILE_FAST)
  return program, traced.shardings, sharding.put_batch(mesh, batch)


def _placed(state, shardings):
  """Returns a copy that a step may overwrite."""
  return jax.device_put(jax.tree.map(jnp.copy, state), shardings)


def test_eight_devices_train_as_one(task, eight, run):
  """In runs of eight steps, each from one state, as whole trainings drift apart."""
  states, metrics = run
  program, shardings, shared = eight
  for number, expected in enumerate(metrics):
    if number % 8 == 0:
      state = _placed(states[number], shardings)
    state, (logged, *_) = program(state, shared)
    for name in ("loss", *task.weights, "disc"):
      np.testing.assert_allclose(
        logged[name], expected[name], 1e-5, 1e-6, err_msg=f"{name} of step {number}"
      )
  # Sums over all, and weights that are gathered from the devices of `fsdp`.
  found = collectives.collectives(program.as_text())
  assert {c.kind for c in found} == {"all-reduce", "all-gather"}
  gathered = {c.groups[0] for c in found if c.kind == "all-gather"}
  assert gathered == {(0, 1)}


def _last_bits_moved(batch, seed):
  """Moves every sample of the batch one float up or down."""
  audio_BxN = batch["audio_BxN"]
  way = np.random.default_rng(seed).choice([-np.inf, np.inf], audio_BxN.shape)
  return {**batch, "audio_BxN": np.nextafter(audio_BxN, way, dtype=np.float32)}


def test_eight_devices_find_the_gradients_of_one(batch, step, eight, run):
  """Compares the norms of each step's gradients, within float32's rounding.

  Both sides start each step from one state, because two whole trainings drift apart:
  they add up in other orders. The gradient of step 10 is five times as long as its
  neighbours, and the last bit of the audio alone moves it by 2e-6. The test measures
  that change and allows five times as much.
  """
  program, shardings, shared = eight
  for number, (state, expected) in enumerate(zip(run[0][:-1], run[1], strict=True)):
    moved = [step(state, _last_bits_moved(batch, seed))[1] for seed in range(4)]
    _, (logged, *_) = program(_placed(state, shardings), shared)
    for name in ("grad_norm", "disc_grad_norm"):
      noise = max(abs(m[name] - expected[name]) for m in moved)
      np.testing.assert_allclose(
        logged[name],
        expected[name],
        2e-6,
        5 * noise,
        err_msg=f"{name} of step {number}",
      )
