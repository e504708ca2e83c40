"""EnCodec's loss balancer against closed forms and numpy, and in a training step."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcodec import losses
from jaxcodec.tasks import codec_loss
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.train.checkpoint import Checkpointer
from jaxcodec.types import Quantized

ON = {"a": True, "b": True}


def _one_step(balancer, grads, weights, active=ON):
  return jax.jit(lambda *a: balancer(*a))(grads, weights, balancer.init(grads), active)


def test_weights_are_shares_of_the_gradient():
  g = jnp.asarray([[3.0, 4.0]])
  balancer = losses.Balancer(total_norm=2.0)
  grads = {"a": g, "b": 100 * g}
  combined, factors, _ = _one_step(balancer, grads, {"a": 3.0, "b": 1.0})
  np.testing.assert_allclose(combined, 2 * g / 5, rtol=1e-6)
  np.testing.assert_allclose(factors["a"], 2 * 0.75 / 5, rtol=1e-6)
  against = {"a": g, "b": -100 * g}  # as in the original's own test
  combined, *_ = _one_step(balancer, against, {"a": 1.0, "b": 1.0})
  np.testing.assert_allclose(combined, 0, atol=1e-6)


def test_norm_of_items_or_of_the_batch():
  grads = {"a": jnp.asarray([[3.0, 4.0], [0.0, 1.0]])}
  for per_item, norm in ((True, 3.0), (False, 26**0.5)):
    balancer = losses.Balancer(per_item=per_item)
    _, factors, _ = _one_step(balancer, grads, {"a": 7.0}, {"a": True})
    np.testing.assert_allclose(factors["a"], 1 / norm, rtol=1e-6)


@pytest.mark.parametrize("per_item", [True, False])
def test_equals_the_published_formula(per_item):
  """Compares with encodec/balancer.py in numpy; one loss starts after the other."""
  rng, decay, weights = np.random.default_rng(0), 0.9, {"a": 4.0, "b": 0.5}
  balancer = losses.Balancer(0.7, decay, per_item)
  step = jax.jit(lambda *a: balancer(*a))
  state, total, fix = balancer.init(weights), {}, {}
  for t in range(6):
    present = {"a": True, "b": t >= 3}
    grads = {
      name: (present[name] * rng.standard_normal((2, 5))).astype(np.float32)
      for name in weights
    }
    for name in (n for n in weights if present[n]):
      g = grads[name].astype(np.float64)
      norm = np.sqrt((g**2).sum(1)).mean() if per_item else np.sqrt((g**2).sum())
      total[name] = decay * total.get(name, 0.0) + norm
      fix[name] = decay * fix.get(name, 0.0) + 1
    weight = sum(weights[name] for name in total)
    expected = sum(
      grads[n] * weights[n] / weight * 0.7 / (1e-12 + total[n] / fix[n]) for n in total
    )
    combined, _, state = step(grads, weights, state, present)
    np.testing.assert_allclose(combined, expected, rtol=1e-5, atol=1e-6)


def test_balanced_gradients_of_functions():
  """Balances two functions, one of two terms; the quantiser's keep their weights."""
  functions = (
    lambda y: {"a": (y**2).sum(), "b": 1000 * y[:, 0].sum()},
    lambda y: {"c": -y[:, 1].sum()},
  )
  y, vq = jnp.asarray([[3.0, 4.0]]), {"commitment": jnp.asarray(2.0)}
  weights = {"a": 1.0, "b": 1.0, "c": 2.0, "commitment": 5.0}
  balancer = losses.Balancer()
  cotangents, terms, _ = codec_loss.balanced_gradients(
    functions, weights, y, vq, balancer, balancer.init("abc"), jnp.asarray(True)
  )
  expected = (np.array([[0.6, 0.8]]) + [[1, 0]] + 2 * np.array([[0, -1]])) / 4
  np.testing.assert_allclose(cotangents[0], expected, rtol=1e-6)
  assert cotangents[1] == {"commitment": 5.0}
  loss = 25 / 10 / 4 + 3000 / 1000 / 4 - 2 * 4 / 4 + 10
  np.testing.assert_allclose(terms["loss"], loss, rtol=1e-6)


class _Gain(nn.Module):
  """A codec whose only parameter is a gain."""

  sample_rate = 1000

  @nn.compact
  def __call__(self, x, *, train=False):
    gain = self.param("gain", nn.initializers.constant(0.5), ())
    return gain * x, Quantized(x, x, {"commitment": (gain - 1) ** 2}, {})


class _Judge(nn.Module):
  """A discriminator of two maps."""

  loss_weights = (1.0,)

  @nn.compact
  def __call__(self, x_BxN):
    hidden = nn.Dense(3)(x_BxN)
    return [[hidden, nn.Dense(1)(jnp.tanh(hidden))]]


def test_steps_of_encodecs_kind(tmp_path):
  """Trains with balanced hinge losses that start later; resumes with the same bits."""
  start = 2
  task = CodecGanTask(
    _Gain(),
    _Judge(),
    optax.sgd(1e-3),
    optax.sgd(1e-3),
    dict(mel=2.0, waveform=0.1, adversarial=4.0, feature=4.0, commitment=1.0),
    mel_scales=((32, 8),),
    adversarial_start=start,
    mel_loss="encodec",
    adversarial_loss="hinge",
    feature_matching="encodec",
    balancer=losses.Balancer(),
  )
  audio_BxN = np.random.default_rng(0).standard_normal((4, 96)).astype(np.float32)
  batch = {"audio_BxN": audio_BxN}
  waiting, playing = (jax.jit(part.train_step) for part in task.phases().values())
  states = [task.init(jax.random.key(0), batch)]
  for number in range(6):
    state, metrics = (waiting if number < start else playing)(states[-1], batch)
    states.append(state)
    assert all(np.isfinite(v).all() for v in jax.tree.leaves((state.params, metrics)))
  count = state.balance.count
  np.testing.assert_allclose(count["mel"], (1 - 0.999**6) / 0.001, rtol=1e-4)
  np.testing.assert_allclose(count["feature"], (1 - 0.999**4) / 0.001, rtol=1e-4)
  assert set(count) == {"mel", "waveform", "adversarial", "feature"}
  gains = [float(state.params["gain"]) for state in states[: start + 1]]
  assert 0.5 == gains[0] < gains[1] < gains[2] < 1
  with Checkpointer(tmp_path) as checkpoints:
    checkpoints.save(5, states[5], "")
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)  # noqa: E731
    restored = checkpoints.restore(jax.tree.map(shape, states[5])).state
  resumed, _ = playing(restored, batch)
  for a, b in zip(*(map(jax.tree.leaves, (resumed, state))), strict=True):
    assert (a == b).all()
