"""Toom-Cook convolution against a sum of matrix products in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn.conv import Conv1d
from jaxcodec.nn.cpu import toom_cook
from jaxcodec.nn.folding import declared_uses, fold_kernels


def noise(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize("length", [1, 4, 37, 72])
def test_is_the_convolution(dilation, length):
  x, kernel = noise(2, length + 6 * dilation, 16), noise(7, 16, 12, seed=1)
  expected = sum(
    x[:, k * dilation :][:, :length].astype(np.float64) @ kernel[k] for k in range(7)
  )
  products = toom_cook.products(jnp.asarray(kernel))
  y = toom_cook.convolve(jnp.asarray(x), products, dilation)
  assert y.shape == expected.shape and y.dtype == jnp.float32
  error = np.sqrt(np.mean((y - expected) ** 2) / np.mean(expected**2))
  assert error < 2e-6


def test_multiplies_half_as_often_as_the_plain_form():
  x, kernel = jnp.zeros((1, 406, 64)), jnp.zeros((7, 64, 64))
  products = toom_cook.products(kernel)
  jaxpr = jax.make_jaxpr(lambda *args: toom_cook.convolve(*args, 1))(x, products).jaxpr
  convs = [e for e in jaxpr.eqns if e.primitive.name == "conv_general_dilated"]
  multiplied = sum(e.outvars[0].aval.shape[1] * 2 for e in convs)
  assert multiplied == 400 * 7 // 2


@pytest.mark.parametrize(("channels", "frames"), [(64, 400), (64, 32), (256, 300)])
def test_a_folded_layer_gives_what_the_layer_gives(channels, frames):
  layer = Conv1d(channels, 7, dilation=3)
  x, valid = jnp.asarray(noise(2, frames, channels)), jnp.array([frames, frames // 3])
  params = layer.init(jax.random.key(0), x)["params"]
  expected = layer.apply({"params": params}, x, valid)
  folded = fold_kernels(params, declared_uses(layer, x))
  assert set(folded) == {"kernel", "bias", "products"}
  y = layer.apply({"params": folded}, x, valid)
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_serves_wide_layers_of_seven_taps_and_pays_in_the_caches():
  assert toom_cook.serves((7, 96, 96)) and toom_cook.serves((7, 1024, 512))
  for shape in ((7, 32, 32), (7, 64, 1536), (3, 96, 96)):
    assert not toom_cook.serves(shape)
  assert toom_cook.pays(16_000, 96) and toom_cook.pays(40_000, 384)
  assert not toom_cook.pays(160_000, 96) and not toom_cook.pays(50, 768)


@pytest.mark.parametrize(
  "other", [dict(stride=2), dict(groups=2), dict(dtype=jnp.bfloat16)]
)
def test_layers_that_cannot_use_products_keep_none(other):
  layer, x = Conv1d(128, 7, **other), jnp.zeros((1, 64, 128))
  params = layer.init(jax.random.key(0), x)["params"]
  assert "products" not in fold_kernels(params, declared_uses(layer, x))
