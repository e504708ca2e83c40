"""The gradient of scaling audio's peak, which no rounding may make NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.codecs.discriminators import DacDiscriminator


@pytest.fixture(scope="module")
def discriminator():
  module = DacDiscriminator((2,), (), period_width=1)
  return module, module.init(jax.random.key(0), jnp.zeros((1, 100)))


def _score(module, variables, x_BxN):
  return sum(
    jnp.square(m).sum() for m in jax.tree.leaves(module.apply(variables, x_BxN))
  )


@pytest.mark.parametrize("branch", [False, True], ids=["plain", "in a condition"])
def test_rows_of_one_value_and_tones_have_a_gradient(discriminator, branch):
  """Without LLVM's optimisations a condition once made these rows' peaks differ."""
  rows = np.stack(
    [np.zeros(100), np.ones(100), *np.sin(np.outer([0.7, 0.9], range(100)))]
  )

  def score(playing, x_BxN):
    if not branch:
      return _score(*discriminator, x_BxN)
    taken = lambda x: _score(*discriminator, x)  # noqa: E731
    return jax.lax.cond(playing, taken, lambda _: jnp.zeros(()), x_BxN)

  gradient = jax.jit(jax.grad(score, 1))(True, rows.astype(np.float32))
  assert np.isfinite(gradient).all()


def test_loudness_changes_no_score(discriminator):
  """So the gradient along the audio itself is zero, the peak's part included."""
  x_BxN = np.random.default_rng(0).normal(size=(3, 100)).astype(np.float32)
  x_BxN -= x_BxN.mean(-1, keepdims=True)
  gradient = jax.jit(jax.grad(lambda x: _score(*discriminator, x)))(x_BxN)
  along_B = np.einsum("bn,bn->b", gradient, x_BxN)
  size_B = np.linalg.norm(gradient, axis=-1) * np.linalg.norm(x_BxN, axis=-1)
  assert (np.abs(along_B) < 1e-4 * size_B).all() and (size_B > 0).all()
