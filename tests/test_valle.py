"""VALL-E's two models: what each depends on, by gradients, and what is scored."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.slm.positions import own_pace
from jaxcodec.slm.valle import Valle
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=4, codebook_size=20, hop=320, sample_rate=16_000)
MODEL = Valle(SPEC, num_text=20, width=16, depth=2, heads=2, dropout=0.0)


def _batch():
  """Makes a batch of distinct symbols and codes, so that each has its own gradient."""
  return {
    "codes_BxTxK": np.arange(20, dtype=np.int32).reshape(1, 5, 4),
    "mask_BxT": np.arange(5)[None] < 4,
    "text_BxS": np.arange(4, dtype=np.int32)[None],
    "text_mask_BxS": np.arange(4)[None] < 3,
    "index_B": np.arange(1, dtype=np.int32),
  }


def _random_params(model, batch):
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(model.init_params, jax.random.key(0), batch)
  draw = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)  # noqa: E731
  return jax.tree.map(draw, shapes)


@pytest.fixture(scope="module")
def params():
  return _random_params(MODEL, _batch())


def _reached(gradient, ids):
  """Returns the ids whose embeddings have a gradient, for each output of axis 0."""
  return np.abs(gradient[:, ids]).sum(-1) > 0


def test_a_code_sees_all_text_and_the_codes_before_it(params):
  batch = _batch()
  text, codes = batch["text_BxS"], batch["codes_BxTxK"][:, :, 0]

  def scores(params):
    masks = batch["text_mask_BxS"], batch["mask_BxT"]
    inputs = text, masks[0], codes, masks[1], own_pace(*masks)
    return MODEL.ar.apply({"params": params}, *inputs)[0, :, 0]

  reach = jax.jit(jax.jacobian(scores))(params["ar"])
  of_text = _reached(reach["text_embed"]["embedding"], text[0])
  np.testing.assert_array_equal(of_text, np.tile([1, 1, 1, 0], (6, 1)).astype(bool))
  of_codes = _reached(reach["code_embed"]["embedding"], codes[0])[:5]
  want = np.tri(5, 5, -1, dtype=bool)
  np.testing.assert_array_equal(of_codes, want)
  assert _reached(reach["code_embed"]["embedding"], np.array([20])).all()


def test_a_level_sees_all_text_the_levels_below_and_the_whole_prompt(params):
  batch = _batch()
  prompt = jnp.arange(5)[None] < 1

  def loss(params):
    return MODEL._score_nar({"nar": params}, batch, jnp.array([2]), prompt)[0]

  grads = jax.jit(jax.grad(loss))(params["nar"])
  codes = batch["codes_BxTxK"][0]
  reach = [np.abs(grads["code_embed"][k, codes[:, k]]).sum(-1) > 0 for k in range(4)]
  want = [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
  np.testing.assert_array_equal(np.stack(reach, axis=1), np.array(want, bool))
  text = np.abs(grads["text_embed"]["embedding"]).sum(-1) > 0
  np.testing.assert_array_equal(text, np.arange(20) < 3)
  head = np.abs(grads["head"]).sum((1, 2)) > 0
  np.testing.assert_array_equal(head, [False, True, False])


def test_padding_of_any_value_changes_neither_loss_nor_gradient(params):
  clean, dirty = _batch(), _batch()
  dirty["codes_BxTxK"][:, 4:] = 10**6
  dirty["text_BxS"][:, 3:] = -7
  grad = jax.jit(jax.value_and_grad(MODEL.loss, has_aux=True))
  want, got = (grad(params, jax.random.key(2), b) for b in (clean, dirty))
  jax.tree.map(np.testing.assert_array_equal, want, got)
  assert np.isfinite(got[0][0])


def test_evaluation_is_a_closed_form_for_a_model_of_even_odds(params):
  even = {half: x | {"head": jnp.zeros_like(x["head"])} for half, x in params.items()}
  two = {name: np.concatenate([x, x]) for name, x in _batch().items()}
  two["mask_BxT"][1] = False  # a row without frames has no end either
  got = jax.jit(MODEL.evaluate)(even, two)
  want = np.log([21, 20, 20, 20])
  np.testing.assert_allclose(got["ce_per_codebook"], want, rtol=1e-6)
  np.testing.assert_allclose(got["loss"], np.log(21) + np.log(20), rtol=1e-6)
  # Of even odds the first is taken, which is right for the first code of all.
  np.testing.assert_allclose(got["accuracy_per_codebook"], [1 / 5, 0, 0, 0])
  np.testing.assert_allclose(got["ce_c0_wrong_text"], np.log(21), rtol=1e-6)
  np.testing.assert_allclose(got["gain_per_codebook"], np.zeros(4), atol=1e-6)
  assert got["weight"] == 4


def test_the_nar_learns_of_rows_drawn_often_as_of_rows_given_as_often(params):
  one, several = _batch(), dataclasses.replace(MODEL, nar_draws=3)
  three = {name: np.repeat(x, 3, axis=0) for name, x in one.items()}
  key = jax.random.key(5)
  got, want = several.loss(params, key, one)[1], MODEL.loss(params, key, three)[1]
  np.testing.assert_allclose(got["nar_loss"], want["nar_loss"], rtol=1e-6)
  assert got["nar_accuracy"] == want["nar_accuracy"]
  ar_loss = MODEL.loss(params, key, one)[1]["ar_loss"]
  np.testing.assert_allclose(got["ar_loss"], ar_loss, rtol=1e-6)


def test_a_nar_that_never_learns_is_refused():
  with pytest.raises(ValueError, match="nar_draws must be at least 1, got 0"):
    dataclasses.replace(MODEL, nar_draws=0)


def test_a_codec_of_one_codebook_is_refused():
  with pytest.raises(ValueError, match="at least 2 codebooks"):
    Valle(TokenSpec(1, 20, 320, 16_000), num_text=5)
