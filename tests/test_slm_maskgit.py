"""The masked-parallel model: what its outputs, loss and evaluation depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.slm import masking
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=11, hop=320, sample_rate=16_000)
MODEL = MaskGit(SPEC, num_semantic=5, width=16, depth=2, heads=2, dropout=0.0)
_evaluate = jax.jit(MODEL.evaluate)


def _batch(lengths=(6, 4), frames=6, seed=0):
  rng = np.random.default_rng(seed)
  rows = len(lengths)
  return {
    "codes_BxTxK": rng.integers(0, 11, (rows, frames, 3)).astype(np.int32),
    "semantic_BxT": rng.integers(0, 5, (rows, frames)).astype(np.int32),
    "mask_BxT": np.arange(frames)[None] < np.array(lengths)[:, None],
    "index_B": np.arange(rows, dtype=np.int32),
  }


def _random_params(model, batch):
  """Returns random parameters, so that every level has its own gains."""
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(model.init_params, jax.random.key(0), batch)
  draw = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)  # noqa: E731
  return jax.tree.map(draw, shapes)


@pytest.fixture(scope="module")
def params():
  return _random_params(MODEL, _batch())


@pytest.fixture(scope="module")
def logits():
  return jax.jit(lambda params, *inputs: MODEL.apply({"params": params}, *inputs))


def test_each_row_is_scored_by_its_own_levels_head_and_gains(params, logits):
  batch = _batch()
  inputs = batch["codes_BxTxK"], batch["semantic_BxT"], batch["mask_BxT"]
  mixed = logits(params, *inputs, jnp.array([2, 0]))
  assert mixed.shape == (2, 6, 11) and mixed.dtype == jnp.float32
  for row, level in enumerate((2, 0)):
    alone = logits(params, *inputs, jnp.array([level, level]))
    np.testing.assert_allclose(mixed[row], alone[row], atol=1e-5)
  assert np.abs(mixed - logits(params, *inputs, jnp.array([1, 1]))).max() > 0.05


def test_loss_at_a_level_sees_lower_levels_the_prompt_and_unmasked_frames(params):
  """Takes gradients by code embeddings; every code has an embedding of its own."""
  codes = np.arange(18, dtype=np.int32).reshape(1, 6, 3)
  model = MODEL.clone(spec=TokenSpec(3, 18, 320, 16_000))
  batch = _batch((6,)) | {"codes_BxTxK": codes, "mask_BxT": np.arange(6)[None] < 5}
  params = _random_params(model, batch)
  prompt = jnp.arange(6)[None] < 1
  target = jnp.array([[0, 0, 1, 1, 0, 0]], bool)

  def loss(params):
    masked = jnp.array([1]), target
    nll, _ = model._predict(params, batch, prompt, masked)
    return masking.mean_over(nll, target)

  grads = jax.jit(jax.grad(loss))(params)
  reach = np.zeros((6, 3), bool)
  for k in range(3):
    rows = np.abs(grads["code_embed"][k]).sum(1)
    for t in range(6):
      reach[t, k] = rows[codes[0, t, k]] > 0
  want = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]
  np.testing.assert_array_equal(reach, np.array(want, bool))
  head = np.abs(grads["head"]).sum((1, 2)) > 0
  np.testing.assert_array_equal(head, [False, True, False])


def test_padding_of_any_value_changes_neither_loss_nor_gradient(params):
  clean, dirty = _batch(), _batch()
  for name, value in (("codes_BxTxK", 10**6), ("semantic_BxT", -7)):
    dirty[name] = np.where(
      clean["mask_BxT"].reshape((2, 6) + (1,) * (dirty[name].ndim - 2)),
      clean[name],
      value,
    )
  grad = jax.jit(jax.value_and_grad(MODEL.loss, has_aux=True))
  want, got = (grad(params, jax.random.key(2), b) for b in (clean, dirty))
  jax.tree.map(np.testing.assert_array_equal, want, got)
  assert np.isfinite(got[0][0])


def test_dropping_every_condition_makes_the_loss_independent_of_it(params):
  model = MODEL.clone(condition_drop=1.0)
  loss = jax.jit(lambda batch: model.loss(params, jax.random.key(0), batch)[0])
  kept = jax.jit(lambda batch: MODEL.loss(params, jax.random.key(0), batch)[0])
  batch = _batch()
  other = batch | {"semantic_BxT": (batch["semantic_BxT"] + 1) % 5}
  assert loss(batch) == loss(other)
  assert kept(batch) != kept(other)


@pytest.mark.parametrize("level", [0, 1])
def test_a_fully_masked_codebook_is_predicted_in_one_step(params, level, monkeypatch):
  """Its loss is of all frames, each given none of the others; codebook 0's is not."""
  only = lambda rng, rows, *_: jnp.full(rows, level, jnp.int32)  # noqa: E731
  monkeypatch.setattr(masking, "draw_levels", only)
  model = MODEL.clone(fully_masked=1.0, prompt_rate=0.0, condition_drop=0.0)
  batch, key = _batch(), jax.random.key(3)
  mask_BxT = jnp.asarray(batch["mask_BxT"])
  level_B, none = jnp.full(len(mask_BxT), level), jnp.zeros_like(mask_BxT)
  nll_BxT, _ = model._predict(params, batch, none, (level_B, mask_BxT))
  loss, _ = model.loss(params, key, batch)
  expected = masking.mean_over(nll_BxT, mask_BxT)
  assert bool(np.isclose(loss, expected, rtol=1e-5)) == (level > 0)


def test_evaluation_is_a_closed_form_for_a_model_of_even_odds(params):
  even = params | {"head": jnp.zeros_like(params["head"])}
  got = _evaluate(even, _batch((6, 4, 5)))
  np.testing.assert_allclose(got["ce_per_codebook"], np.log(11), rtol=1e-6)
  np.testing.assert_allclose(got["ce_c0_wrong_semantic"], np.log(11), rtol=1e-6)
  np.testing.assert_allclose(got["gain_per_codebook"], 0, atol=1e-6)


def test_evaluation_gives_each_row_the_same_masks_in_any_batch(params):
  batch = _batch((6, 4, 5))
  whole = _evaluate(params, batch)
  order = [2, 0, 1]
  moved = _evaluate(params, {k: v[np.array(order)] for k, v in batch.items()})
  for name in ("loss", "ce_c0", "ce_per_codebook", "gain_per_codebook", "weight"):
    np.testing.assert_allclose(whole[name], moved[name], rtol=1e-5)
  pairs = [{k: v[rows] for k, v in batch.items()} for rows in (slice(2), slice(1, 3))]
  weights = [_evaluate(params, pair)["weight"] for pair in pairs]
  assert sum(weights) > whole["weight"] > max(weights)


def test_a_lone_row_is_evaluated_against_its_semantics_backwards(params):
  found = _evaluate(params, _batch((6, 0)))
  assert found["weight"] > 0 and found["ce_c0_wrong_semantic"] != found["ce_c0"]
