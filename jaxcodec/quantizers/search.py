"""A search through the codebooks of a residual quantiser, wider than the greedy one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.quantizers.residual import in_chunks


def best_codes(z_BxTxD: jax.Array, books: Sequence[jax.Array], paths: int) -> jax.Array:
  """Returns the codes whose sum is the nearest of all that were tried, (B, T, K) int32.

  At every level, the `paths` best continuations of those of the level before are kept.
  One path is the greedy choice of the nearest code at each level; as many as there are
  combinations would be an exhaustive search.

  Args:
    z_BxTxD: float32 latents.
    books: the K codebooks, (V, D) each.
    paths: at least 1.
  """

  def of_chunk(z_BxTxD):
    B, T, D = z_BxTxD.shape
    return _of_frames(z_BxTxD.reshape(-1, D), books, paths).reshape(B, T, -1)

  return in_chunks(of_chunk, z_BxTxD, paths * len(books[0]))


def _of_frames(z_NxD, books, paths):
  """Returns the codes of the best path of each of N latents, (N, K)."""
  residual_NxMxD = z_NxD[:, None]  # M paths
  codes_NxMxK = jnp.zeros((len(z_NxD), 1, 0), jnp.int32)
  for embed_VxD in books:
    scores_NxMxV = _scores(residual_NxMxD, embed_VxD)
    N, M, V = scores_NxMxV.shape
    kept = lax.top_k(scores_NxMxV.reshape(N, -1), min(paths, M * V))[1]
    path, code = kept // V, kept % V
    codes_NxMxK, residual_NxMxD = (
      jnp.take_along_axis(x, path[..., None], 1) for x in (codes_NxMxK, residual_NxMxD)
    )
    codes_NxMxK = jnp.concatenate([codes_NxMxK, code[..., None]], -1)
    residual_NxMxD = residual_NxMxD - jnp.take(embed_VxD, code, axis=0)
  return codes_NxMxK[:, 0]


def _scores(residual_NxMxD, embed_VxD):
  """Returns minus half the squared distances of what paths leave to all codes."""
  product = jnp.einsum(
    "nmd,vd->nmv", residual_NxMxD, embed_VxD, precision=lax.Precision.HIGHEST
  )
  half_V = 0.5 * jnp.sum(embed_VxD**2, -1)
  left_NxM = 0.5 * jnp.sum(residual_NxMxD**2, -1)
  return product - half_V.reshape(1, 1, -1) - left_NxM[..., None]
