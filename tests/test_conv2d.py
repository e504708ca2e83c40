import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import conv2d, plain
from jaxcodec.nn.cpu.conv2d import thin_conv2d


def _noise(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("bins", [21, 22])
@pytest.mark.parametrize("stride,dilation", [(1, 1), (2, 1), (2, 2), (3, 4)])
def test_thin_form_and_its_gradients_are_the_convolution_op(bins, stride, dilation):
  x, kernel = _noise(2, 11, bins, 3), _noise(3, 9, 3, 4, seed=1)
  settings = (1, stride), (0, 0), (dilation, 1)
  expected, back = jax.vjp(lambda *a: plain.conv2d(*a, *settings), x, kernel)
  y, own_back = jax.vjp(
    lambda *a: thin_conv2d(*a, stride, dilation), jnp.asarray(x), kernel
  )
  np.testing.assert_allclose(y, expected, atol=2e-5)
  weight = _noise(*expected.shape, seed=2)
  for own, theirs in zip(own_back(weight), back(weight), strict=True):
    np.testing.assert_allclose(own, theirs, atol=1e-4)


@pytest.mark.parametrize("features", [4, 12])
def test_thin_and_wide_layers_pad_alike(features):
  layer = conv2d.Conv2d(features, (3, 9), (1, 2), (2, 4), (2, 1), weight_norm=False)
  x = _noise(1, 6, 33, 2)
  variables = layer.init(jax.random.key(0), x)
  padded = np.pad(x, ((0, 0), (2, 2), (4, 4), (0, 0)))
  kernel = variables["params"]["kernel"]
  expected = plain.conv2d(padded, kernel, (1, 2), (0, 0), (2, 1))
  y = layer.apply(variables, x) - variables["params"]["bias"].reshape(1, 1, 1, -1)
  np.testing.assert_allclose(y, expected, atol=1e-5)
