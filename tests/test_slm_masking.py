"""Training examples of the masked model: statistics against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcodec.slm import masking, sampling


def _prefix(lengths, frames):
  return jnp.arange(frames)[None] < jnp.asarray(lengths)[:, None]


def test_cosine_schedule_and_maskgcts_sine_are_one():
  t = np.linspace(0, 1, 9)
  np.testing.assert_allclose(
    masking.cosine_schedule(t), np.sin(np.pi / 2 * (1 - t)), atol=1e-6
  )


def test_masked_part_follows_the_cosine_of_a_uniform_time():
  open_BxT = _prefix([200] * 4000, 200)
  keys = sampling.row_keys(jax.random.key(0), 4000)
  target = np.asarray(jax.jit(masking.draw_targets)(keys, open_BxT))
  part = np.sort(target.mean(1))
  # P(cos(pi u / 2) <= x) = 1 - 2 / pi acos(x); ceil adds at most one frame in 200.
  want = np.cos(np.pi / 2 * (1 - (np.arange(4000) + 0.5) / 4000))
  np.testing.assert_allclose(part, want, atol=0.03)
  np.testing.assert_allclose(part.mean(), 2 / np.pi, atol=0.015)
  np.testing.assert_allclose(target.mean(0), 2 / np.pi, atol=0.04)  # no frame favoured


def test_targets_are_open_frames_at_least_one_and_ignore_the_padding():
  keys = sampling.row_keys(jax.random.key(1), 64)
  short = _prefix([1, 7, 3, 0] * 16, 8)
  target = np.asarray(masking.draw_targets(keys, short))
  assert not (target & ~np.asarray(short)).any()
  np.testing.assert_array_equal(target.any(1), np.asarray(short).any(1))
  longer = masking.draw_targets(keys, jnp.pad(short, ((0, 0), (0, 5))))
  np.testing.assert_array_equal(longer[:, :8], target)
  some_B = jnp.arange(64) % 8 < 4
  some = masking.draw_targets(keys, short, some_B)
  np.testing.assert_array_equal(some, np.where(some_B[:, None], short, target))


def test_levels_are_drawn_with_their_weights():
  for weights, want in (("uniform", [0.25] * 4), ("linear", [0.4, 0.3, 0.2, 0.1])):
    level = masking.draw_levels(jax.random.key(0), 20_000, 4, weights)
    share = np.bincount(np.asarray(level), minlength=4) / 20_000
    np.testing.assert_allclose(share, want, atol=0.015)
  with pytest.raises(ValueError, match="level_weights must be .* got 'cubic'"):
    masking.draw_levels(jax.random.key(0), 1, 4, "cubic")


def test_prompts_are_prefixes_of_at_most_half_with_their_rate():
  mask = _prefix([100] * 2000 + [40] * 2000, 100)
  prompt = np.asarray(masking.draw_prompts(jax.random.key(0), mask, 0.8))
  assert (np.diff(prompt.astype(int), axis=1) <= 0).all()
  size = prompt.sum(1)
  assert size[:2000].max() == 49 and size[2000:].max() == 19
  np.testing.assert_allclose(size[:2000].mean(), 0.8 * 24.5, atol=1)
  assert not masking.draw_prompts(jax.random.key(0), mask, 0.0).any()


def test_hide_shows_lower_levels_unmasked_frames_and_the_prompt():
  codes = jnp.arange(24).reshape(1, 6, 4)
  mask, prompt = _prefix([5], 6), _prefix([1], 6)
  target = jnp.array([[0, 0, 1, 1, 0, 0]], bool)
  got = masking.hide(codes, mask, prompt, (jnp.array([1]), target), 99)
  want = [
    [0, 1, 2, 3],
    [4, 5, 99, 99],
    [8, 99, 99, 99],
    [12, 99, 99, 99],
    [16, 17, 99, 99],
    [99] * 4,
  ]
  np.testing.assert_array_equal(got.codes_BxTxK[0], want)


def test_cross_entropy_is_optaxs():
  logits = jax.random.normal(jax.random.key(0), (2, 3, 7))
  code = jnp.array([[0, 6, 2], [3, 3, 1]])
  want = optax.softmax_cross_entropy_with_integer_labels(logits, code)
  np.testing.assert_allclose(masking.cross_entropy(logits, code), want, rtol=1e-5)
  smooth = optax.smooth_labels(jax.nn.one_hot(code, 7), 0.1)
  want = optax.softmax_cross_entropy(logits, smooth)
  np.testing.assert_allclose(masking.cross_entropy(logits, code, 0.1), want, rtol=1e-5)


def test_mean_over_ignores_what_is_not_chosen():
  x = jnp.array([[1.0, jnp.nan, 5.0]])
  assert masking.mean_over(x, jnp.array([[True, False, True]])) == 3
  assert masking.mean_over(x, jnp.zeros((1, 3), bool)) == 0
