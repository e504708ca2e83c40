"""ELU with a gradient that reuses its output."""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def elu(x: jax.Array) -> jax.Array:
  """x where positive, else exp(x) - 1. Source: Clevert et al. 2016, eq. 15.

  Rounds to 6e-8 absolute: `expm1` would be relative, at twice the time on CPU.
  """
  return jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1)


# exp(x) = y + 1 below zero, and 1 above.
elu.defjvps(lambda tangent, y, x: tangent * (jnp.minimum(y, 0) + 1))
