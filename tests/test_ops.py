"""Every operation that has a form for CPUs agrees with XLA's."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.seanet import SeanetEncoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.nn import attention, cpu, kv_cache, ops, plain, platform
from jaxcodec.quantizers import codebook
from jaxcodec.quantizers.fsq import FSQ


def test_both_have_the_same_operations():
  functions = dict(inspect.getmembers(plain, inspect.isfunction))
  assert set(cpu.__all__) == set(functions)
  assert set(ops.__all__) == {*functions, "read_stored", "attention_kernel"}


@pytest.mark.parametrize("name", ["exp_minus_one", "gelu", "sin_cos"])
def test_functions_and_their_gradients_agree(name):
  x = jnp.linspace(-8, 8, 4001)
  values, slopes = [], []
  for form in (cpu, plain):
    y, back = jax.vjp(getattr(form, name), x)
    values.append(y)
    slopes.append(back(jax.tree.map(jnp.ones_like, y))[0])
  for one, other in zip(*map(jax.tree.leaves, values), strict=True):
    # 1 + erf(x) is off by a float32 of one, and gelu by half of x times that.
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(*slopes, rtol=2e-6, atol=2e-6)


def test_products_of_sine_and_cosine_agree():
  u = jnp.linspace(-30, 30, 4001)
  (sin, cos), (other_sin, other_cos) = (f.sin_cos_up_to_sign(u) for f in (cpu, plain))
  np.testing.assert_allclose(sin * sin, other_sin * other_sin, atol=2e-6)
  np.testing.assert_allclose(sin * cos, other_sin * other_cos, atol=2e-6)


@pytest.mark.parametrize("form", [cpu, plain])
def test_first_argmax_takes_the_first_of_equals(form):
  scores = jnp.array([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]])
  index = form.first_argmax(scores)
  assert index.dtype == jnp.int32
  np.testing.assert_array_equal(index, [1, 0])


def test_sums_of_rows_and_the_gradient_of_a_lookup_agree():
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.integers(-9, 9, (40, 3)), jnp.float32)
  index = jnp.asarray(rng.integers(0, 7, 40))
  one, other = (form.sum_rows(x, index, 8) for form in (cpu, plain))
  np.testing.assert_array_equal(one, other)
  assert not one[7].any()
  table = jnp.asarray(rng.integers(-9, 9, (8, 3)), jnp.float32)
  slope = lambda f: jax.grad(lambda t: (f(t, index) * x).sum())(table)  # noqa: E731
  np.testing.assert_array_equal(slope(codebook.look_up), slope(codebook.take))
  np.testing.assert_array_equal(slope(codebook.look_up), one)


def test_a_lookup_learns_without_a_scatter_off_the_cpu():
  index = jnp.arange(5)
  with platform.assume("gpu"):
    slope = jax.grad(lambda t: codebook.look_up(t, index).sum())
    assert "scatter" not in str(jax.make_jaxpr(slope)(jnp.ones((8, 3))))


def test_the_platform_chooses_when_a_program_is_traced():
  def primitives():
    jaxpr = jax.make_jaxpr(lambda x: ops.first_argmax(x))(jnp.zeros((2, 3)))
    return {equation.primitive.name for equation in jaxpr.eqns}

  assert platform.on_cpu() and "argmax" not in primitives()
  with platform.assume("tpu"):
    assert not platform.on_cpu() and "argmax" in primitives()
    with platform.assume("cpu"):
      assert platform.on_cpu()
  assert platform.on_cpu()


@pytest.mark.parametrize(
  "encoder,decoder",
  [
    (DacEncoder(2, (4,), latent_dim=4), DacDecoder(4, (4,))),
    (SeanetEncoder(2, (4,), latent_dim=4), VocosDecoder(4, 8, 1, n_fft=16, hop=4)),
  ],
)
def test_a_codec_and_its_gradient_are_the_same_for_another_platform(encoder, decoder):
  codec = Codec(encoder, FSQ(4, 2), decoder, 16_000)
  x = np.random.default_rng(0).standard_normal((2, 40, 1)).astype(np.float32)
  variables = jax.jit(codec.init)(jax.random.key(0), x)

  def run():
    @jax.jit
    def both(variables):
      audio, back = jax.vjp(lambda v: codec.apply(v, x)[0], variables)
      return audio, back(audio)

    return jax.tree.leaves(both(variables))

  with platform.assume("gpu"):
    elsewhere = run()
  for one, other in zip(run(), elsewhere, strict=True):
    largest = np.abs(one).max()
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * largest + 1e-7)


def test_a_cache_of_two_axes_gives_the_same():
  model = attention.Transformer(depth=1, heads=2)
  x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  visible = attention.causal(jnp.ones((2, 5), bool))
  params = model.init(jax.random.key(1), x, visible)["params"]

  def run():
    body, cache = kv_cache.unstack_layers(model, params), kv_cache.empty(model, 8, 2, 5)
    where = visible, jnp.arange(5)[None], 0
    extend = jax.jit(lambda *args: kv_cache.extend(model, *args, where))
    y, cache = extend(body, cache, x)
    return y, cache[0][0].ndim

  y, axes = run()
  with platform.assume("gpu"):
    other, other_axes = run()
  assert (axes, other_axes) == (3, 4)
  np.testing.assert_allclose(y, other, atol=1e-6)
