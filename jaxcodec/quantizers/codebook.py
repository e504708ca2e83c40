"""The nearest code of a codebook, and statistics of the codes."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.ops import first_argmax, sum_rows

STATS = "vq_stats"  # collection of the codebooks that no gradient trains
_LEAST_ENERGY = 1e-30  # so that its logarithm is finite


def nearest(x_BxTxD: jax.Array, embed_VxD: jax.Array) -> jax.Array:
  """Returns the index of the nearest code by Euclidean distance, the first of equals.

  It has the largest x e - |e|^2 / 2, as |x|^2 is the same for all codes.
  """
  scores = jnp.einsum(
    "...d,vd->...v", x_BxTxD, embed_VxD, precision=lax.Precision.HIGHEST
  )
  half_V = 0.5 * jnp.sum(embed_VxD**2, -1)
  return first_argmax(scores - half_V.reshape((1,) * (scores.ndim - 1) + (-1,)))


def take(table_VxD: jax.Array, codes: jax.Array) -> jax.Array:
  """Returns rows of a table; a code out of range takes the first or the last."""
  return jnp.take(table_VxD, codes, axis=0, mode="clip")


@jax.custom_vjp
def look_up(table_VxD: jax.Array, codes: jax.Array) -> jax.Array:
  """As `take`, with a gradient of the table that adds up in one order everywhere."""
  return take(table_VxD, codes)


def _look_up(table_VxD, codes):
  return take(table_VxD, codes), (codes, table_VxD.shape)


def _look_up_gradient(kept, cotangent):
  codes, (V, D) = kept
  return sum_rows(cotangent.reshape(-1, D), codes.ravel(), V), None


look_up.defvjp(_look_up, _look_up_gradient)


def l2_normalize(x: jax.Array, epsilon: float = 1e-12) -> jax.Array:
  """Returns x / max(||x||, epsilon) over the last axis, with finite gradients at 0."""
  squared = jnp.sum(x * x, -1, keepdims=True)
  return x / jnp.sqrt(jnp.maximum(squared, epsilon**2))


def code_counts(
  codes_BxTxK: jax.Array, codebook_size: int, mask_BxT: jax.Array | None = None
) -> jax.Array:
  """Counts how often each code occurs on valid frames of the global batch, (K, V).

  Counts are float32; inside jit XLA sums them over the devices that share a batch.
  """
  ones = jnp.ones(codes_BxTxK.shape[:2]) if mask_BxT is None else mask_BxT
  weight = jnp.broadcast_to(ones.astype(jnp.float32)[..., None], codes_BxTxK.shape)

  def one(codes, weights):
    return jnp.zeros(codebook_size).at[codes.ravel()].add(weights.ravel())

  return jax.vmap(one, in_axes=-1)(codes_BxTxK, weight)


def perplexity(counts_KxV: jax.Array) -> jax.Array:
  """Returns exp(entropy) of each codebook's codes, (K,): V if all are used equally."""
  p_KxV = counts_KxV / jnp.maximum(counts_KxV.sum(-1, keepdims=True), 1)
  return jnp.exp(-jnp.sum(p_KxV * jnp.log(jnp.maximum(p_KxV, 1e-20)), -1))


def usage(counts_KxV: jax.Array) -> jax.Array:
  """Returns the fraction of each codebook's codes that occur, (K,)."""
  return jnp.mean(counts_KxV > 0, -1)


def use_of_codes(
  codes_BxTxK: jax.Array, codebook_size: int, mask_BxT: jax.Array | None = None
) -> dict[str, jax.Array]:
  """Returns each codebook's `perplexity` and `usage` on valid frames, each (K,)."""
  counts_KxV = code_counts(codes_BxTxK, codebook_size, mask_BxT)
  return {"perplexity": perplexity(counts_KxV), "usage": usage(counts_KxV)}


def snr_db(energy: jax.Array, noise_K: jax.Array) -> jax.Array:
  """Returns energy over noise in dB, (K,); finite where either is 0."""
  energy, noise_K = (jnp.maximum(x, _LEAST_ENERGY) for x in (energy, noise_K))
  return 10 * (jnp.log10(energy) - jnp.log10(noise_K))
