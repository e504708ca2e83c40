import jax.numpy as jnp
import numpy as np

from jaxcodec import losses


def _maps(*scores):
  """One sub-discriminator a score: a feature map of ones, then the score."""
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


def test_mel_loss_of_a_gain_is_its_logarithm():
  """A gain of 10 moves every log10 mel by 1, so each scale adds 1."""
  x = np.random.default_rng(0).standard_normal((1, 4000)).astype(np.float32)
  scales = ((64, 5), (512, 20))
  loss = losses.multiscale_mel(
    jnp.asarray(x), jnp.asarray(10 * x), sample_rate=16_000, scales=scales
  )
  np.testing.assert_allclose(loss, len(scales), rtol=1e-4)
