"""The largest logits by bisection on the bits of their threshold: exact, no sort."""

import jax
import jax.numpy as jnp


def keep_top_k(logits_xV: jax.Array, k: int) -> jax.Array:
  """See `plain.keep_top_k`."""
  return _keep_most(logits_xV, jnp.ones_like(logits_xV), k)


def keep_top_p(logits_xV: jax.Array, p: float) -> jax.Array:
  """See `plain.keep_top_p`."""
  return _keep_most(logits_xV, jax.nn.softmax(logits_xV, axis=-1), p)


def _keep_most(logits_xV: jax.Array, value_xV: jax.Array, needed: float) -> jax.Array:
  """Excludes the lowest logits while the others' values sum to `needed` or more."""
  ordered = _ordered(logits_xV.astype(jnp.float32))

  def halve(_, bounds):
    low, high = bounds
    middle = (low & high) + ((low ^ high) >> 1)  # the mean, without overflow
    enough = jnp.where(ordered >= middle, value_xV, 0).sum(-1, keepdims=True)
    enough = enough >= needed
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

  shape = logits_xV.shape[:-1] + (1,)
  limits = jnp.iinfo(jnp.int32)
  start = jnp.full(shape, limits.min), jnp.full(shape, limits.max)
  threshold, _ = jax.lax.fori_loop(0, 32, halve, start)
  return jnp.where(ordered >= threshold, logits_xV, -jnp.inf)


def _ordered(x: jax.Array) -> jax.Array:
  """Maps float32 to int32 so that the order is kept."""
  bits = jax.lax.bitcast_convert_type(x + 0.0, jnp.int32)  # -0.0 becomes 0.0
  return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
