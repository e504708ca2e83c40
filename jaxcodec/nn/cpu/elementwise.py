"""Elementwise functions, and argmax, in operations that LLVM vectorises."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def exp_minus_one(x: jax.Array) -> jax.Array:
  """See `plain.exp_minus_one`: off by 6e-8, in half the time of `expm1`."""
  return jnp.exp(x) - 1


def gelu(x: jax.Array) -> jax.Array:
  """See `plain.gelu`; by erf, which is faster than `jax.nn`'s erfc."""
  return 0.5 * x * (1 + lax.erf(x * np.float32(0.5**0.5)))


def first_argmax(scores_xV: jax.Array) -> jax.Array:
  """See `plain.first_argmax`; two passes, as XLA's one isn't vectorised on a CPU."""
  V = scores_xV.shape[-1]
  at = lax.broadcasted_iota(jnp.int32, scores_xV.shape, scores_xV.ndim - 1)
  best = scores_xV == scores_xV.max(-1, keepdims=True)
  return jnp.minimum(jnp.where(best, at, V).min(-1), V - 1)
