"""Embeddings and output heads of codes, one table and one head a codebook."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import partition
from jaxcodec.nn.products import einsum_float32

head_init = nn.initializers.variance_scaling(
  1.0, "fan_in", "truncated_normal", in_axis=1, out_axis=2, batch_axis=0
)


def embed_init(rng, shape, dtype=jnp.float32):
  """Draws rows whose expected squared length is 1, whatever the width (last axis)."""
  return jax.random.normal(rng, shape, dtype) * shape[-1] ** -0.5


class Embed(nn.Embed):
  """Embeddings in `dtype` whose table keeps float32, as do the sums of its gradients.

  Flax's own is cast before rows are taken from it, so that its gradients are summed in
  bfloat16; see `embed_sum`.
  """

  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Returns the rows of ids, with a last axis of `features`."""
    return jnp.take(self.embedding, inputs, axis=0).astype(self.dtype)


def embed_sum(
  table_KxVxD: jax.Array, codes_BxTxK: jax.Array, dtype: Any = None
) -> jax.Array:
  """Sums the embeddings of a frame's codes, (B, T, D); no (B, T, K, D) is ever made.

  There is one gather for each codebook's table, so that devices that share a batch
  exchange nothing but the tables' gradients.

  Args:
    table_KxVxD: the tables, in the type that their gradients are summed in: of
      bfloat16, a frequent code's gradient would soon be too large to add to.
    codes_BxTxK: codes.
    dtype: of the result, the tables' if None.
  """
  tables = partition.whole(table_KxVxD)
  dtype = dtype or table_KxVxD.dtype
  return sum(
    table_VxD[codes_BxTxK[:, :, k]].astype(dtype) for k, table_VxD in enumerate(tables)
  )


def logits(x_BxTxD: jax.Array, head_KxDxV: jax.Array, level_B: jax.Array) -> jax.Array:
  """Scores each row by the head of its own level, (B, T, V) float32.

  Each row gathers its head first, so that the other K - 1 heads cost nothing.
  """
  head_KxDxV = partition.whole(head_KxDxV.astype(x_BxTxD.dtype))
  head_BxDxV = partition.rows(head_KxDxV[level_B])
  scores_BxTxV = einsum_float32("btd,bdv->btv", x_BxTxD, head_BxDxV)
  return partition.rows(scores_BxTxV)
