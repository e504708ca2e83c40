"""The cached transformer gives the numbers of the one without, whatever the padding."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import attention, attention_kernels, kv_cache, ops, plain, visibility

MODEL = attention.Transformer(depth=2, heads=2)
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 1, 1]], bool)
PREFIX = 2


def _run_cached(params, x, first):
  """Runs `first` frames at once and the others one by one, in a larger cache."""
  rows, frames, width = x.shape
  position = attention.positions(MASK)
  visible = jnp.pad(attention.causal(MASK, PREFIX).dense(), ((0, 0), (0, 0), (0, 2)))
  body = kv_cache.unstack_layers(MODEL, params)
  cache = kv_cache.empty(MODEL, width, rows, frames + 2)
  where = visible[:, :first, :first], position[:, :first], 0
  y, cache = kv_cache.extend(MODEL, body, cache, x[:, :first], where)

  def step(cache, at):
    one = lambda x: jax.lax.dynamic_slice_in_dim(x, at, 1, axis=1)  # noqa: E731
    where = one(visible), one(position), at
    y, cache = kv_cache.extend(MODEL, body, cache, one(x), where)
    return cache, y[:, 0]

  _, rest = jax.lax.scan(step, cache, jnp.arange(first, frames))
  return jnp.concatenate([y, jnp.swapaxes(rest, 0, 1)], axis=1)


def _copied_in_loop(program, shape):
  """Returns the lines of the loop's body that copy an array of this shape."""
  body = re.search(r" while\(.*?body=(%[\w.-]+)", program)[1]
  lines = program.split(f"\n{body} (")[1].split("\n}")[0].splitlines()
  assert any("dot(" in line for line in lines)
  return [line for line in lines if f"= {shape}" in line and " copy(" in line]


def test_a_cache_grows_behind_its_slots():
  cache = jax.tree.map(jnp.ones_like, kv_cache.empty(MODEL, 16, 3, 4))
  grown = kv_cache.grow(cache, 6)
  assert kv_cache.num_slots(grown) == 6
  assert jax.tree.structure(grown) == jax.tree.structure(cache)
  for array in jax.tree.leaves(grown):
    assert array[..., :4, :].all() and not array[..., 4:, :].any()


def test_the_last_size_of_a_cache_holds_all_frames():
  assert [plain.cache_sizes(n) for n in (1, 256, 257, 1500)] == [
    [1],
    [256],
    [256, 257],
    [256, 512, 1024, 1500],
  ]


def test_frames_one_by_one_equal_all_at_once_and_padding_is_not_there():
  x = jax.random.normal(jax.random.key(0), (2, 7, 16))
  visible = attention.causal(MASK, PREFIX)
  shapes = jax.eval_shape(MODEL.init, jax.random.key(0), x, visible)["params"]
  rng = np.random.default_rng(1)
  draw = lambda x: jnp.asarray(0.4 * rng.normal(size=x.shape), x.dtype)  # noqa: E731
  params = jax.tree.map(draw, shapes)
  position = attention.positions(MASK)
  np.testing.assert_array_equal(position[1], [0, 0, 1, 1, 2, 3, 4])
  apply = jax.jit(MODEL.apply)
  whole = apply({"params": params}, x, visible, position_BxT=position)
  run = jax.jit(_run_cached, static_argnums=2).lower(params, x, 3).compile()
  assert not _copied_in_loop(run.as_text(), "f32[4,9,8]")
  cached = run(params, x)
  np.testing.assert_allclose(cached[MASK], whole[MASK], atol=1e-5)
  # Only the first frame of the second row's prefix exists: it is like causal without.
  packed = x[1:, MASK[1]]
  alone = apply({"params": params}, packed, attention.causal(jnp.ones((1, 5), bool), 1))
  np.testing.assert_allclose(whole[1, MASK[1]], alone[0], atol=1e-5)


@pytest.mark.parametrize("packs", [False, True])
def test_the_first_frames_are_read_by_a_platforms_kernel(packs, monkeypatch):
  """The kernel takes the rule as it is, or rows whose valid frames come first."""
  x = jax.random.normal(jax.random.key(0), (2, 7, 16))
  visible = attention.causal(jnp.asarray(MASK), PREFIX)
  position = attention.positions(MASK)
  params = MODEL.init(jax.random.key(1), x, visible, position_BxT=position)["params"]
  body = kv_cache.unstack_layers(MODEL, params)
  seen = []

  def by_rule(q, k, v, visible):
    seen.append(type(visible))
    heads_first = (jnp.swapaxes(array, 1, 2) for array in (q, k, v))
    return jnp.swapaxes(attention.attend(*heads_first, visible.dense()), 1, 2)

  def by_cudnn(q, k, v, packed):
    seen.append(type(packed))
    return attention_kernels.cudnn(q, k, v, packed, implementation="xla")

  def read():
    cache = kv_cache.empty(MODEL, 16, 2, 9)
    return kv_cache.extend(MODEL, body, cache, x, (visible, position, 0))

  want, kept = jax.jit(read)()
  kernel = ops.AttentionKernel(by_cudnn if packs else by_rule, 8 if packs else 0)
  monkeypatch.setattr(ops, "attention_kernel", lambda *_: kernel)
  got, written = jax.jit(lambda: read())()
  assert seen == [visibility.Packed if packs else visibility.Visible] * 2
  np.testing.assert_allclose(got[MASK], want[MASK], atol=1e-5)
  slots = np.repeat(MASK, MODEL.heads, axis=0)  # a CPU's cache joins rows and heads
  for one, other in zip(*map(jax.tree.leaves, (written, kept)), strict=True):
    np.testing.assert_allclose(one[:, :7][slots], other[:, :7][slots], atol=1e-5)
