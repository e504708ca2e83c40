import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec import losses


def _maps(*scores):
  """Makes a sub-discriminator for each score: a feature map of ones, then the score."""
  return [[jnp.ones((2, 3)), jnp.full((2, 4), score)] for score in scores]


def test_least_squares_gan():
  real, fake = _maps(1.0, 0.5), _maps(0.0, 0.5)
  assert losses.lsgan_discriminator(real, fake) == 0.25 + 0.25
  assert losses.lsgan_generator(fake) == 1.0 + 0.25


def test_feature_matching_leaves_out_the_scores():
  real, fake = _maps(9.0, 9.0), _maps(0.0, 0.0)
  assert losses.feature_matching(real, fake) == 0
  fake[0][0] = jnp.full((2, 3), 1.25)
  assert losses.feature_matching(real, fake) == 0.25


def test_hinge_gan():
  real, fake = _maps(1.5, 0.5), _maps(-1.5, 0.5)
  game = losses.ADVERSARIAL["hinge"]
  assert game.discriminator(real, fake) == 0 + (0.5 + 1.5)
  assert game.generator(fake) == 1.5 - 0.5
  assert losses.ADVERSARIAL["clipped_hinge"].generator(_maps(-1.5, 3.0)) == 2.5


def test_weights_of_sub_discriminators():
  real, fake = _maps(0.0, 0.0), _maps(1.0, 0.5)
  for kind, (of_real, of_fake) in {
    "lsgan": (1, (1, 0.25)),
    "hinge": (1, (2, 1.5)),
  }.items():
    expected = 3 * (of_real + of_fake[0]) + 0.5 * (of_real + of_fake[1])
    assert losses.ADVERSARIAL[kind].discriminator(real, fake, (3, 0.5)) == expected


def test_kinds_of_feature_matching():
  real = [[jnp.zeros((2, 3)), jnp.zeros((2, 5)), jnp.zeros((2, 1))]]
  fake = [[jnp.full((2, 3), 1.0), jnp.full((2, 5), 2.0), jnp.full((2, 1), 4.0)]]
  got = {name: loss(real, fake) for name, loss in losses.FEATURE_MATCHING.items()}
  assert got == {"dac": 3.0, "encodec": 1.5, "vocos": 7.0}


def test_si_sdr_of_known_noise():
  rng = np.random.default_rng(0)
  x = rng.standard_normal(4000)
  noise = rng.standard_normal(4000)
  x, noise = x - x.mean(), noise - noise.mean()
  noise -= x * (x @ noise) / (x @ x)  # orthogonal: then the ratio is exact
  noise *= np.linalg.norm(x) / np.linalg.norm(noise) / 10
  both = jnp.asarray([x, x], jnp.float32), jnp.asarray([x + noise, 3 * x + 3 * noise])
  got = losses.si_sdr(both[0], both[1].astype(jnp.float32))
  np.testing.assert_allclose(got, [20.0, 20.0], atol=1e-3)


@pytest.mark.parametrize("kind,expected", [("dac", 1), ("vocos", np.log(10))])
def test_mel_loss_of_a_gain_is_its_logarithm(kind, expected):
  """A gain of 10 moves every log mel by log 10, which each scale adds."""
  x = np.random.default_rng(0).standard_normal((1, 4000)).astype(np.float32)
  settings = dict(sample_rate=16_000, scales=((64, 5), (512, 20)))
  loss = jax.jit(functools.partial(losses.MEL[kind], **settings))(x, 10 * x)
  np.testing.assert_allclose(loss, 2 * expected, rtol=1e-4)


def test_waveform_l1():
  assert losses.waveform_l1(jnp.ones((2, 4)), jnp.full((2, 4), -0.5)) == 1.5
