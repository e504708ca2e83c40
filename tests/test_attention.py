"""The transformer: rotary shifts, what a frame sees, scan against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import attention


def _normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def _init(model, x, visible):
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(model.init, jax.random.key(0), x, visible)
  draw = lambda x: jnp.asarray(0.4 * rng.normal(size=x.shape), x.dtype)  # noqa: E731
  return jax.tree.map(draw, shapes)


def _visible(kind, mask_BxT):
  if kind == "both":
    return attention.bidirectional(mask_BxT)
  return attention.causal(mask_BxT, prefix=3 if kind == "prefix" else 0)


def test_attend_is_softmax_attention():
  q, k, v = (_normal(i, 2, 3, 5, 4) for i in range(3))
  visible = jnp.array([[1, 1, 1, 0, 1], [1, 0, 1, 1, 1]], bool)[:, None]
  got = attention.attend(q, k, v, visible)
  in_heads_last = [jnp.swapaxes(x, 1, 2) for x in (q, k, v)]
  want = jax.nn.dot_product_attention(*in_heads_last, mask=visible[:, None])
  np.testing.assert_allclose(got, jnp.swapaxes(want, 1, 2), atol=2e-6)


def test_rotary_scores_depend_on_the_distance_alone():
  q, k = _normal(0, 1, 2, 6, 8), _normal(1, 1, 2, 6, 8)

  def scores(first):
    table = attention.rope_table(first + jnp.arange(6)[None], 8)
    turned_q, turned_k = attention.rotate(q, table), attention.rotate(k, table)
    return jnp.einsum("bhtd,bhsd->bhts", turned_q, turned_k)

  np.testing.assert_allclose(scores(0), scores(37), atol=1e-4)
  plain = jnp.einsum("bhtd,bhsd->bhts", q, k)
  assert np.abs(scores(0) - plain).max() > 0.1
  diagonals = [jnp.diagonal(x, axis1=2, axis2=3) for x in (scores(0), plain)]
  np.testing.assert_allclose(*diagonals, atol=1e-5)


def test_rotation_is_multiplication_by_a_unit_complex_number():
  x = _normal(0, 1, 1, 5, 6)
  table = attention.rope_table(jnp.arange(5)[None], 6)
  turned = np.asarray(attention.rotate(x, table))[0, 0]
  rate = 10_000.0 ** (-np.arange(3) / 3)
  phase = np.exp(1j * np.outer(np.arange(5), rate))
  want = (np.asarray(x)[0, 0, :, :3] + 1j * np.asarray(x)[0, 0, :, 3:]) * phase
  np.testing.assert_allclose(turned[:, :3] + 1j * turned[:, 3:], want, atol=1e-5)


@pytest.mark.parametrize("kind", ["causal", "both", "prefix"])
def test_gradients_flow_from_visible_frames_only(kind):
  model = attention.Transformer(depth=2, heads=2)
  x = _normal(0, 1, 7, 8)
  visible = _visible(kind, jnp.arange(7)[None] < 5)
  params = _init(model, x, visible)
  summed = lambda x: model.apply(params, x, visible)[0].sum(-1)  # noqa: E731
  reach = jax.jit(jax.jacobian(summed))(x)
  reach = np.abs(reach[:, 0]).sum(-1)[:5] > 0
  want = np.ones((5, 7), bool) if kind == "both" else np.tri(5, 7, dtype=bool)
  if kind == "prefix":
    want[:, :3] = True
  want[:, 5:] = False
  np.testing.assert_array_equal(reach, want)


def test_scan_equals_a_loop_over_its_slices_and_remat_changes_nothing():
  model = attention.Transformer(depth=3, heads=2, num_levels=4)
  x, level = _normal(0, 2, 6, 8), jnp.array([1, 3])
  visible = attention.bidirectional(jnp.ones((2, 6), bool))
  params = _init(model, x, visible)["params"]
  block = attention.Block(2, 64, 3, 4, 0.0, True, jnp.float32)
  rope = attention.rope_table(jnp.arange(6)[None], 4)
  y = x
  run_block = jax.jit(block.apply)
  for i in range(3):
    layer = jax.tree.map(lambda p, i=i: p[i], params["layers"])
    y, _ = run_block({"params": layer}, y, visible, rope, level)
  norm = attention.RMSNorm(4)
  want = norm.apply({"params": params["last_norm"]}, y, level)

  def loss(params, remat):
    again = model.clone(remat=remat)
    y = again.apply({"params": params}, x, visible, level_B=level)
    return (y**2).sum(), y

  grad = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
  grads, got = zip(*(grad(params, remat) for remat in (False, True)), strict=True)
  np.testing.assert_allclose(got[0], want, atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *grads)


def test_dropout_follows_its_key_and_is_off_by_default():
  model = attention.Transformer(depth=2, heads=1, dropout=0.5)
  x = _normal(0, 1, 4, 8)
  visible = attention.bidirectional(jnp.ones((1, 4), bool))
  params = _init(model, x, visible)

  @jax.jit
  def run(seed):
    rngs = {"dropout": jax.random.key(seed)}
    return model.apply(params, x, visible, train=True, rngs=rngs)

  np.testing.assert_array_equal(run(1), run(1))
  assert np.abs(run(1) - run(2)).max() > 0.01
  jax.jit(model.apply)(params, x, visible)  # needs no key


def test_bfloat16_stays_near_float32():
  model = attention.Transformer(depth=2, heads=2)
  x = _normal(0, 1, 6, 16)
  visible = attention.bidirectional(jnp.ones((1, 6), bool))
  params = _init(model, x, visible)
  low = jax.jit(model.clone(dtype="bfloat16").apply)(params, x, visible)
  assert low.dtype == jnp.bfloat16
  want = jax.jit(model.apply)(params, x, visible)
  np.testing.assert_allclose(low.astype(jnp.float32), want, atol=0.06)


def test_heads_that_do_not_divide_the_width_are_named():
  model = attention.Transformer(depth=1, heads=3)
  with pytest.raises(ValueError, match="width must be a multiple .* width 8, heads 3"):
    model.init(jax.random.key(0), jnp.zeros((1, 2, 8)), jnp.ones((1, 1, 2), bool))
