import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import conv, cpu, plain, platform
from jaxcodec.nn.cpu import conv as cpu_conv
from jaxcodec.nn.folding import declared_uses, fold_kernels
from jaxcodec.nn.snake import snake
from jaxcodec.nn.weight_norm import fold_weight_norm


def _noise(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _direct(x_TxI, kernel, stride, dilation):
  """Computes a convolution by its definition, as a sum."""
  width = len(kernel)
  last = len(x_TxI) - dilation * (width - 1)
  return np.array(
    [
      sum(x_TxI[t + k * dilation] @ kernel[k] for k in range(width))
      for t in range(0, last, stride)
    ]
  )


@pytest.mark.parametrize("inputs,outputs", [(1, 4), (4, 1), (3, 5), (2, 3), (3, 2)])
@pytest.mark.parametrize("stride,dilation", [(1, 1), (1, 3), (3, 1)])
@pytest.mark.parametrize("form", [cpu, plain])
def test_every_form_is_the_convolution(form, inputs, outputs, stride, dilation):
  x, kernel = _noise(20, inputs), _noise(4, inputs, outputs, seed=1)
  y = form.conv1d(jnp.asarray(x)[None], jnp.asarray(kernel), stride, dilation)
  np.testing.assert_allclose(y[0], _direct(x, kernel, stride, dilation), atol=1e-5)


@pytest.mark.parametrize("stride", [2, 5, 8])
def test_transposed_convolution_is_the_adjoint_of_the_strided_one(stride):
  layer = conv.ConvTranspose1d(3, stride, exact=False)
  z = jnp.asarray(_noise(1, 6, 4))
  variables = layer.init(jax.random.key(0), z)
  kernel = variables["params"]["kernel"]  # of norm `scale` at the start
  y = layer.apply(variables, z) - variables["params"]["bias"].reshape(1, 1, -1)
  pad = -(-stride // 2)

  def strided(y):
    padded = np.pad(y[0], ((pad, pad), (0, 0)))
    return _direct(padded, np.asarray(kernel).transpose(0, 2, 1), stride, 1)

  other = _noise(*y.shape, seed=2)
  assert y.shape == (1, 6 * stride - stride % 2, 3)
  left, right = (y * other).sum(), (np.asarray(z[0]) * strided(other)[:6]).sum()
  np.testing.assert_allclose(left, right, rtol=1e-4)


def test_an_exact_transposed_convolution_gives_stride_times_frames():
  layer = conv.ConvTranspose1d(2, 5)
  z = jnp.zeros((1, 7, 3))
  assert jax.eval_shape(layer.init_with_output, jax.random.key(0), z)[0].shape[1] == 35


@pytest.mark.parametrize("kind", [conv.Conv1d(6, 3), conv.ConvTranspose1d(6, 2)])
def test_folded_layers_give_the_same(kind):
  x = jnp.asarray(_noise(2, 9, 4))
  params = kind.init(jax.random.key(0), x)["params"]
  params = {**params, "scale": params["scale"] * 3, "bias": _noise(6, seed=1)}
  expected = kind.apply({"params": params}, x)
  uses = declared_uses(kind, x)
  for folded in (fold_weight_norm(params), fold_kernels(params, uses)):
    assert "scale" not in folded
    np.testing.assert_allclose(kind.apply({"params": folded}, x), expected, atol=1e-5)


class _UpAndDown(nn.Module):
  """Two layers whose kernels differ only in the use that they declare."""

  weight_norm: bool

  @nn.compact
  def __call__(self, x_BxTxC):
    kind = dict(weight_norm=self.weight_norm)
    y = conv.Conv1d(6, 4, name="down", **kind)(x_BxTxC)
    return conv.ConvTranspose1d(4, 2, name="up", **kind)(y)


@pytest.mark.parametrize("weight_norm", [True, False])
def test_kernels_are_stored_by_what_layers_declare(weight_norm):
  model, x = _UpAndDown(weight_norm), jnp.asarray(_noise(2, 9, 4))
  variables = model.init(jax.random.key(0), x)
  folded = fold_kernels(variables["params"], declared_uses(model, x))
  assert {name: set(layer) for name, layer in folded.items()} == {
    "down": {"kernel", "bias"},
    "up": {"columns", "bias"},
  }
  assert folded["up"]["columns"].shape == (4 * 4, 6)
  y, expected = model.apply({"params": folded}, x), model.apply(variables, x)
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_other_platforms_store_kernels_as_they_are():
  model, x = _UpAndDown(True), jnp.asarray(_noise(2, 11, 4))
  variables = model.init(jax.random.key(0), x)
  expected = model.apply(variables, x)
  with platform.assume("gpu"):
    folded = fold_kernels(variables["params"], declared_uses(model, x))
    y = model.apply({"params": folded}, x)
  assert all(set(layer) == {"kernel", "bias"} for layer in folded.values())
  np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("form", [cpu, plain])
def test_groups_are_convolutions_of_their_own(form):
  x, kernel = _noise(20, 8), _noise(5, 2, 12, seed=1)
  y = form.grouped_conv1d(jnp.asarray(x)[None], jnp.asarray(kernel), 3, 4)
  for g in range(4):
    of_group = kernel[:, :, 3 * g : 3 * g + 3]
    windows = [x[t : t + 5, 2 * g : 2 * g + 2] for t in range(0, 16, 3)]
    expected = [np.einsum("WI,WIO->O", w, of_group) for w in windows]
    np.testing.assert_allclose(y[0, :, 3 * g : 3 * g + 3], expected, atol=1e-5)


def test_groups_of_a_long_kernel_are_the_same(monkeypatch):
  x, kernel = jnp.asarray(_noise(2, 20, 8)), jnp.asarray(_noise(5, 2, 12, seed=1))
  expected = cpu.grouped_conv1d(x, kernel, 1, 4)
  monkeypatch.setattr(cpu_conv, "_LONG", 4)
  y = cpu.grouped_conv1d(x, kernel, 1, 4)
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_groups_must_divide_the_channels():
  layer = conv.Conv1d(8, 5, groups=4)
  with pytest.raises(ValueError, match="4 groups do not divide 6 channels"):
    jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 9, 6)))


def test_weight_norm_scales_the_direction():
  layer = conv.Conv1d(4, 3)
  x = jnp.asarray(_noise(1, 9, 2))
  params = layer.init(jax.random.key(0), x)["params"]
  longer = params | {"kernel": 7 * params["kernel"]}  # the same direction
  y, same = (layer.apply({"params": p}, x) for p in (params, longer))
  np.testing.assert_allclose(y, same, atol=1e-5)
  twice = layer.apply({"params": params | {"scale": 2 * params["scale"]}}, x)
  np.testing.assert_allclose(twice, 2 * y, atol=1e-5)


def test_padding_does_not_reach_valid_frames():
  layer = conv.Conv1d(4, 5)
  x = _noise(2, 12, 3)
  x[1, 7:] = np.nan
  variables = layer.init(jax.random.key(0), jnp.zeros((1, 4, 3)))
  y = layer.apply(variables, jnp.asarray(x), jnp.array([12, 7]))
  alone = layer.apply(variables, jnp.asarray(x[1:, :7]))
  np.testing.assert_allclose(y[1, :7], alone[0], atol=1e-6)


def test_snake_and_its_gradients():
  x = np.linspace(-40, 40, 4001, dtype=np.float32).reshape(1, -1, 1)
  alpha = np.full((1, 1, 1), 1.7, np.float32)

  def exact(x, alpha):
    return x + jnp.sin(alpha * x) ** 2 / (alpha + 1e-9)

  np.testing.assert_allclose(snake(x, alpha), exact(x, alpha), atol=5e-6)
  weight = _noise(*x.shape)
  ours = jax.grad(lambda *a: (snake(*a) * weight).sum(), (0, 1))(x, alpha)
  theirs = jax.grad(lambda *a: (exact(*a) * weight).sum(), (0, 1))(x, alpha)
  np.testing.assert_allclose(ours[0], theirs[0], atol=2e-5)
  np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4)
