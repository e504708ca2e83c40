"""The codes of a residual quantiser: at each level the nearest to what is left.

Three forms give the same codes. `at_once` holds the scores of all frames and codes of a
level, `in_chunks` of it those of some frames, `residual_kernel.fused` none.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import ops, partition
from jaxcodec.quantizers import residual_kernel
from jaxcodec.quantizers.codebook import nearest, take


def residual_codes(z_BxTxD: jax.Array, books: Sequence[jax.Array]) -> jax.Array:
  """Returns the greedy codes by the platform's form, (B, T, K) int32.

  Beside its arguments it needs an amount of memory that more frames don't raise.

  Args:
    z_BxTxD: float32 latents.
    books: the K codebooks, (V, D) each.
  """
  if residual_kernel.chosen(books):
    find = lambda z_BxTxD: residual_kernel.fused(z_BxTxD, books)  # noqa: E731
    return partition.by_rows(find, z_BxTxD, is_kernel=True)
  return in_chunks(lambda z: at_once(z, books), z_BxTxD, len(books[0]))


def at_once(z_BxTxD: jax.Array, books: Sequence[jax.Array]) -> jax.Array:
  """Returns the greedy codes, level by level for all frames; see `residual_codes`."""
  codes, left_BxTxD = [], z_BxTxD
  for embed_VxD in books:
    codes.append(nearest(left_BxTxD, embed_VxD))
    left_BxTxD = left_BxTxD - take(embed_VxD, codes[-1])
  return jnp.stack(codes, -1)


def in_chunks(
  function: Callable[[jax.Array], jax.Array], z_BxTxD: jax.Array, numbers: int
) -> jax.Array:
  """Computes the codes of some frames after those of others, (B, T, K).

  Args:
    function: of latents (B, some frames, D), to their codes; frames don't interact.
    z_BxTxD: all latents.
    numbers: that the function holds for each frame.
  """

  def of_rows(z_BxTxD):
    B, T, D = z_BxTxD.shape
    rows = B if isinstance(B, int) else 1  # an exported program's number is free
    frames = max(1, min(T, ops.score_numbers() // (rows * numbers)))
    if frames == T:
      return function(z_BxTxD)
    padded = jnp.pad(z_BxTxD, ((0, 0), (0, -T % frames), (0, 0)))
    chunks = padded.reshape(B, -1, frames, D).swapaxes(0, 1)
    codes = lax.map(function, chunks).swapaxes(0, 1)
    return codes.reshape(B, -1, codes.shape[-1])[:, :T]

  return partition.by_rows(of_rows, z_BxTxD)
