"""Snake activation, x + sin^2(a x) / a, with a gradient that keeps its inputs alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn.ops import sin_cos_up_to_sign
from jaxcodec.nn.reach import Reach

_EPSILON = 1e-9


@jax.custom_vjp
def snake(x_BxTxC: jax.Array, alpha_1x1xC: jax.Array) -> jax.Array:
  """Returns x + sin^2(alpha x) / alpha, elementwise with one alpha for each channel.

  Source: Ziyin et al. 2020, eq. 3; the epsilon is DAC's (dac/nn/layers.py).
  """
  u = (alpha_1x1xC * x_BxTxC).astype(jnp.float32)
  sin, _ = sin_cos_up_to_sign(u)
  inverse = 1 / (alpha_1x1xC.astype(jnp.float32) + _EPSILON)
  return (x_BxTxC + inverse * sin * sin).astype(x_BxTxC.dtype)


def _forward(x, alpha):
  return snake(x, alpha), (x, alpha)


def _backward(residuals, g):
  x, alpha = residuals
  x32, a32, g32 = (v.astype(jnp.float32) for v in (x, alpha, g))
  sin, cos = sin_cos_up_to_sign(a32 * x32)
  inverse = 1 / (a32 + _EPSILON)
  sin_2u = 2 * sin * cos
  dx = g32 * (1 + a32 * inverse * sin_2u)
  per_element = g32 * (inverse * x32 * sin_2u - inverse * inverse * sin * sin)
  dalpha = per_element.sum(axis=tuple(range(x.ndim - 1)), keepdims=True)
  return dx.astype(x.dtype), dalpha.astype(alpha.dtype)


snake.defvjp(_forward, _backward)


class Snake(nn.Module):
  """Snake with a learned alpha for each channel, 1 at first."""

  reach = Reach()

  @nn.compact
  def __call__(self, x_BxTxC, valid_B=None):
    shape = (1,) * (x_BxTxC.ndim - 1) + (x_BxTxC.shape[-1],)
    alpha = self.param("alpha", nn.initializers.ones, shape)
    return snake(x_BxTxC, alpha.astype(x_BxTxC.dtype))
