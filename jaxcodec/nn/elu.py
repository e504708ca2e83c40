"""ELU with a gradient that reuses its output."""

import jax
import jax.numpy as jnp

from jaxcodec.nn.ops import exp_minus_one


@jax.custom_jvp
def elu(x: jax.Array) -> jax.Array:
  """Returns x where positive, else exp(x) - 1. Source: Clevert et al. 2016, eq. 15."""
  return jnp.where(x > 0, x, exp_minus_one(jnp.minimum(x, 0)))


# exp(x) = y + 1 below zero, and 1 above.
elu.defjvps(lambda tangent, y, x: tangent * (jnp.minimum(y, 0) + 1))
