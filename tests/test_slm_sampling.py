"""Drawing tokens: top-k and top-p against sorts, noise per row and frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import cpu, plain
from jaxcodec.nn.ops import first_argmax
from jaxcodec.slm import sampling


def _logits(seed=0, shape=(2, 5, 17)):
  return 3 * jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("form", [cpu, plain])
@pytest.mark.parametrize("k", [1, 4, 16])
def test_top_k_keeps_what_lax_top_k_finds(form, k):
  logits = _logits()
  kept = np.isfinite(form.keep_top_k(logits, k))
  want = np.zeros(kept.shape, bool)
  np.put_along_axis(want, np.asarray(jax.lax.top_k(logits, k)[1]), True, axis=-1)
  np.testing.assert_array_equal(kept, want)


@pytest.mark.parametrize("form", [cpu, plain])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.999])
def test_top_p_keeps_the_smallest_likeliest_set(form, p):
  logits = _logits(1)
  kept = np.isfinite(form.keep_top_p(logits, p))
  chance = np.asarray(jax.nn.softmax(logits))
  descending = -np.sort(-chance)
  number = 1 + (np.cumsum(descending, -1) < p).sum(-1)
  np.testing.assert_array_equal(kept.sum(-1), number)
  lowest_kept = np.where(kept, chance, 2).min(-1)
  highest_left = np.where(kept, -1, chance).max(-1)
  assert (lowest_kept > highest_left).all()


@pytest.mark.parametrize("form", [cpu, plain])
def test_ties_stay_and_signs_order(form):
  logits = jnp.array([[[-2.0, -0.0, 0.0, 1.5, -7.0]]])
  kept = np.isfinite(form.keep_top_k(logits, 2))[0, 0]
  np.testing.assert_array_equal(kept, [False, True, True, True, False])
  tied = np.log([[[0.2, 0.1, 0.2, 0.4, 0.1]]]).astype(np.float32)
  kept = np.isfinite(form.keep_top_p(jnp.asarray(tied), 0.5))[0, 0]
  np.testing.assert_array_equal(kept, [True, False, True, True, False])
  assert np.isfinite(form.keep_top_p(jnp.asarray(tied), 1 - 1e-9)).all()


def test_both_forms_filter_alike():
  """Rounded logits have ties; some are excluded before, as top-k does."""
  rng = np.random.default_rng(4)
  logits = np.round(3 * rng.standard_normal((40, 50, 64)), 1).astype(np.float32)
  logits[:, ::2, ::3] = -np.inf
  for name, limit in (("keep_top_k", 7), ("keep_top_p", 0.6), ("keep_top_p", 0.97)):
    one, other = (getattr(form, name)(logits, limit) for form in (cpu, plain))
    np.testing.assert_array_equal(one, other)


def test_filters_leave_alone():
  logits = jnp.array([[[-2.0, -0.0, 0.0, 1.5, -7.0]]])
  same = sampling.filter_logits(logits, temperature=0.0, top_k=0, top_p=1.0)
  np.testing.assert_array_equal(same, logits)
  same = sampling.filter_logits(logits, temperature=2.0, top_k=5, top_p=1.0)
  np.testing.assert_array_equal(same, logits / 2)


def test_argmax_is_numpys():
  logits = jnp.round(_logits(2))
  assert (np.sort(logits)[..., -1] == np.sort(logits)[..., -2]).any()
  np.testing.assert_array_equal(first_argmax(logits), np.argmax(logits, -1))


def test_noise_of_a_frame_depends_on_its_row_and_index_alone():
  def noise(rows, frames):
    keys = sampling.frame_keys(sampling.row_keys(jax.random.key(3), rows), frames)
    return np.asarray(sampling.gumbel(keys, 6)), np.asarray(sampling.uniform(keys))

  for big, small in zip(noise(3, 9), noise(2, 5), strict=True):
    np.testing.assert_array_equal(big[:2, :5], small)
    assert len(np.unique(big)) == big.size


def test_gumbel_noise_draws_from_the_softmax():
  logits = jnp.array([0.0, 1.0, -1.0, 2.0])
  keys = sampling.frame_keys(sampling.row_keys(jax.random.key(0), 4), 5000)
  drawn = first_argmax(logits[None, None] + sampling.gumbel(keys, 4))
  share = np.bincount(np.asarray(drawn).ravel(), minlength=4) / drawn.size
  np.testing.assert_allclose(share, jax.nn.softmax(logits), atol=0.01)
