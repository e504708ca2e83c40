"""Quantisers that start fitted to latents, against numpy and their random starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.build.codec import make_codec
from jaxcodec.presets import preset
from jaxcodec.quantizers.fsq import FSQ
from jaxcodec.tasks.quantizer_start import fit

WIDTH, CODES, BOOKS = 12, 16, 3


def _latents(count, seed=0):
  """Vectors of a few directions, off centre, louder and softer."""
  strength = np.array([4, 2, 1, 0.5, 0.25])
  mixing = np.random.default_rng(9).standard_normal((5, WIDTH)) * strength[:, None]
  rng = np.random.default_rng(seed)
  loud = rng.uniform(0.5, 1.5, (count, 1))
  x = loud * rng.standard_normal((count, 5)) @ mixing
  return jnp.asarray(x + 0.3 + 0.05 * rng.standard_normal(x.shape), jnp.float32)


LATENT, HELD_OUT = _latents(3000), _latents(500, seed=1)
KINDS = {
  "factorized_rvq": dict(codebook_size=CODES, codebook_dim=4),
  "simvq": dict(codebook_size=CODES),
  "fsq": dict(levels=(4, 4)),
}


def _make(name, **fields):
  """Makes a quantiser as codecs do, and its random variables."""
  codec = {
    **preset("baseline"),
    "quantizer": {"name": name, "num_codebooks": BOOKS, **KINDS[name], **fields},
  }
  quantizer = make_codec({"codec": codec}).quantizer.clone(width=WIDTH, parent=None)
  return quantizer, quantizer.init(jax.random.key(0), LATENT[None, :4])


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
  quantizer, fresh = _make(request.param)
  variables, made_TxD = fit(quantizer, fresh, jax.random.key(1), LATENT, 8)
  return quantizer, fresh, variables, made_TxD


def _explained(quantizer, variables, latent_TxD):
  made = quantizer.apply(variables, latent_TxD[None]).z_BxTxD[0]
  return float(1 - jnp.mean((made - latent_TxD) ** 2) / jnp.var(latent_TxD))


def test_it_explains_most_of_the_latents_and_the_random_start_does_not(fitted):
  quantizer, fresh, variables, _ = fitted
  shapes = [jax.tree.map(jnp.shape, tree) for tree in (fresh, variables)]
  assert shapes[0] == shapes[1]
  least = 0.6 if isinstance(quantizer, FSQ) else 0.85
  for latent_TxD in (LATENT, HELD_OUT):
    before, after = (_explained(quantizer, v, latent_TxD) for v in (fresh, variables))
    assert before < 0.4 and after > least


def test_what_it_says_it_makes_is_what_the_quantiser_makes(fitted):
  quantizer, _, variables, made_TxD = fitted
  found = quantizer.apply(variables, LATENT[None]).z_BxTxD[0]
  np.testing.assert_allclose(found, made_TxD, atol=2e-3)


def test_most_codes_are_used(fitted):
  quantizer, _, variables, _ = fitted
  codes = np.asarray(quantizer.apply(variables, LATENT[None], method="encode"))
  for k in range(BOOKS):
    assert len(np.unique(codes[..., k])) >= 12


def test_the_nearest_direction_is_the_nearest_point():
  """A factorised level's last dimension is a constant far off."""
  quantizer, fresh = _make("factorized_rvq")
  params = fit(quantizer, fresh, jax.random.key(1), LATENT, 8)[0]["params"]
  level = params["quantizers_0"]
  codes = np.asarray(
    quantizer.apply({"params": params}, LATENT[None], method="encode")
  )[0, :, 0]
  seen = np.asarray(LATENT) @ np.asarray(level["in_proj"]["kernel"][0, :, :-1])
  book = np.asarray(level["codebook"][:, :-1])
  nearest = np.square(seen[:, None] - book[None]).sum(-1).argmin(1)
  assert np.mean(codes == nearest) > 0.8
  covariance = np.cov(seen.T)
  off = covariance - np.diag(np.diag(covariance))
  assert np.abs(off).max() < 1e-3 * covariance.max()  # principal components


def test_fsq_sees_whitened_components_and_its_way_back_is_least_squares():
  quantizer, fresh = _make("fsq")
  variables, made = fit(quantizer, fresh, jax.random.key(1), LATENT, 8)
  params, x = variables["params"], np.asarray(LATENT, np.float64)
  normed = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
  seen = normed @ np.asarray(params["project_in"]["kernel"][0], np.float64)
  np.testing.assert_allclose(np.cov(seen.T), np.eye(6), atol=0.02)
  codes = quantizer.apply(variables, LATENT[None], method="encode")
  digits = np.stack([np.asarray(codes[0]) % 4, np.asarray(codes[0]) // 4], -1)
  rounded = np.c_[(digits.reshape(len(x), -1) - 2) / 2, np.ones(len(x))]
  best = rounded @ np.linalg.lstsq(rounded, x, rcond=None)[0]
  np.testing.assert_allclose(made, best, atol=2e-3)


def test_fsq_with_more_channels_than_the_latent_has_keeps_the_others_random():
  quantizer, fresh = _make("fsq", levels=(4, 4, 4, 4, 4, 4))
  variables, _ = fit(quantizer, fresh, jax.random.key(1), LATENT, 8)
  kernels = [v["params"]["project_in"]["kernel"][0] for v in (fresh, variables)]
  np.testing.assert_array_equal(kernels[0][:, WIDTH:], kernels[1][:, WIDTH:])
  assert _explained(quantizer, variables, LATENT) > 0.6


def test_fitting_simvq_in_turns_explains_more():
  quantizer, fresh = _make("simvq")
  few, many = (
    _explained(
      quantizer, fit(quantizer, fresh, jax.random.key(1), LATENT, n)[0], LATENT
    )
    for n in (0, 20)
  )
  assert many > few + 0.02


def test_levels_beyond_ten_follow_each_other():
  """JAX sorts names, and `layers_10` comes before `layers_2`."""
  quantizer, _ = _make("simvq", num_codebooks=11)
  fresh = jax.jit(quantizer.init)(jax.random.key(0), LATENT[None, :4])
  variables, made_TxD = fit(quantizer, fresh, jax.random.key(1), LATENT, 2)
  found = quantizer.apply(variables, LATENT[None]).z_BxTxD[0]
  np.testing.assert_allclose(found, made_TxD, atol=2e-3)


def test_a_silent_channel_stays_finite():
  quantizer, fresh = _make("factorized_rvq")
  silent = LATENT.at[:, 3].set(0)
  variables, _ = fit(quantizer, fresh, jax.random.key(1), silent, 2)
  made = quantizer.apply(variables, silent[None]).z_BxTxD
  assert jnp.isfinite(made).all() and jnp.abs(made[..., 3]).max() < 1e-3


def test_another_quantiser_stays_as_it_is():
  variables = {"params": {}}
  found, latent_TxD = fit(object(), variables, jax.random.key(0), LATENT, 3)
  assert found is variables and latent_TxD is LATENT
  quantizer, fresh = _make("factorized_rvq", codebook_dim=1)
  assert fit(quantizer, fresh, jax.random.key(0), LATENT, 3)[0] is fresh
