"""Codes of several codebooks into a model and out of it, one table and head each."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import partition

head_init = nn.initializers.variance_scaling(
  1.0, "fan_in", "truncated_normal", in_axis=1, out_axis=2, batch_axis=0
)


def embed_init(rng, shape, dtype=jnp.float32):
  """Rows of length 1 in expectation, whatever the width (the last axis)."""
  return jax.random.normal(rng, shape, dtype) * shape[-1] ** -0.5


def summed(table_KxVxD: jax.Array, codes_BxTxK: jax.Array) -> jax.Array:
  """Sum of the codes' rows, (B, T, D), one gather at a time: no (B, T, K, D).

  Each out of its own book's table, whose gradient is then all that devices add up.
  """
  tables = partition.whole(table_KxVxD)
  return sum(table_VxD[codes_BxTxK[:, :, k]] for k, table_VxD in enumerate(tables))


def logits(x_BxTxD: jax.Array, head_KxDxV: jax.Array, level_B: jax.Array) -> jax.Array:
  """Scores by each row's own head, (B, T, V) float32.

  Each row gathers its own, so that the K - 1 others (for K = 8 more than half of a
  small model's work) cost nothing.
  """
  head_KxDxV = partition.whole(head_KxDxV.astype(x_BxTxD.dtype))
  head_BxDxV = partition.rows(head_KxDxV[level_B])
  scores_BxTxV = jnp.einsum(
    "btd,bdv->btv", x_BxTxD, head_BxDxV, preferred_element_type=jnp.float32
  )
  return partition.rows(scores_BxTxV)
