"""Codebooks that are running means of what chose them, as pure functions of a state.

Everything is over the frames of the global batch, of which random choices are made by
position: one device and many give the same codebooks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.quantizers.codebook import nearest


class Codebook(NamedTuple):
  """One codebook and its statistics, float32, named as in the original.

  Attributes:
    embed: the codes (V, D), embed_avg / cluster_size.
    embed_avg: running sum of the vectors that chose each code, (V, D).
    cluster_size: running count of them, (V,).
    inited: 1 once k-means has started the codebook, 0 before; (1,).
  """

  embed: jax.Array
  embed_avg: jax.Array
  cluster_size: jax.Array
  inited: jax.Array


def sample_vectors(
  rng: jax.Array, x_TxD: jax.Array, kept_T: jax.Array, num: int
) -> jax.Array:
  """`num` of the kept vectors at random, each once, or in turn if they are too few."""
  most = min(num, x_TxD.shape[0])
  order_T = jax.random.uniform(rng, kept_T.shape) + kept_T
  first = lax.top_k(order_T, most)[1]
  available = jnp.clip(kept_T.sum().astype(jnp.int32), 1, most)
  return x_TxD[first[jnp.arange(num) % available]]


def kmeans(
  x_TxD: jax.Array, kept_T: jax.Array, means_VxD: jax.Array, iterations: int
) -> tuple[jax.Array, jax.Array]:
  """Lloyd's iterations; a mean that no vector is nearest to stays where it is.

  Source: encodec/quantization/core_vq.py, kmeans.

  Returns:
    The means (V, D), and how many vectors each had in the last iteration, (V,).
  """

  def iterate(_, carry):
    means_VxD, _ = carry
    sum_VxD, count_V = _sums(x_TxD, nearest(x_TxD, means_VxD), kept_T, len(means_VxD))
    new_VxD = sum_VxD / jnp.maximum(count_V, 1)[:, None]
    return jnp.where(count_V[:, None] > 0, new_VxD, means_VxD), count_V

  nothing_V = jnp.zeros(means_VxD.shape[0])
  return lax.fori_loop(0, iterations, iterate, (means_VxD, nothing_V))


def started(
  book: Codebook, rng: jax.Array, x_TxD: jax.Array, kept_T: jax.Array, iterations: int
) -> Codebook:
  """Starts a codebook by k-means on its first vectors; later it is left alone.

  The running sum begins as mean times count. The original begins it as the mean alone,
  which divides every code by its count in the first step.
  """

  def start(book):
    means_VxD = sample_vectors(rng, x_TxD, kept_T, len(book.embed))
    means_VxD, count_V = kmeans(x_TxD, kept_T, means_VxD, iterations)
    return Codebook(
      means_VxD, means_VxD * count_V[:, None], count_V, jnp.ones_like(book.inited)
    )

  due = (book.inited[0] == 0) & (kept_T.sum() > 0)
  return lax.cond(due, start, lambda book: book, book)


def least_count(threshold: float, frames: jax.Array, codebook_size: int) -> jax.Array:
  """The running count below which a code is dead: `threshold`, at most half the mean.

  A batch of few frames would otherwise leave no code alive: the original's 2 is for
  4800 frames and 1024 codes.
  """
  return jnp.minimum(threshold, 0.5 * frames / codebook_size)


def updated(
  book: Codebook,
  rng: jax.Array,
  x_TxD: jax.Array,
  codes_T: jax.Array,
  kept_T: jax.Array,
  *,
  decay: float,
  epsilon: float,
  threshold: float,
) -> Codebook:
  """One step of the running means.

  Codes whose running count was below `least_count` become random vectors of the batch.
  Their statistics start again as twice the least count, and that many times the vector:
  so the next step's mean is still that vector, where the original's is the old code's
  again, and a new code has log(1/2) / log(decay) steps, 69 at 0.99, to find use before
  it counts as dead. What the old code was chosen for in this batch is not counted.

  Nothing changes if no vector is kept. Source: encodec/quantization/core_vq.py,
  EuclideanCodebook.

  Args:
    x_TxD: the vectors of the batch.
    codes_T: the codes they chose.
    kept_T: 1 for vectors that count, 0 for those that don't.
    decay: of the running counts and sums.
    epsilon: of the Laplace smoothing of the counts.
    threshold: see `least_count`; 0 keeps dead codes.
  """
  V = book.embed.shape[0]
  sum_VxD, count_V = _sums(x_TxD, codes_T, kept_T, V)
  size_V = decay * book.cluster_size + (1 - decay) * count_V
  avg_VxD = decay * book.embed_avg + (1 - decay) * sum_VxD
  if threshold:
    least = least_count(threshold, kept_T.sum(), V)
    dead_V = book.cluster_size < least
    fresh_VxD = sample_vectors(rng, x_TxD, kept_T, V)
    size_V = jnp.where(dead_V, 2 * least, size_V)
    avg_VxD = jnp.where(dead_V[:, None], 2 * least * fresh_VxD, avg_VxD)
  total = size_V.sum()
  smoothed_V = (size_V + epsilon) / (total + V * epsilon) * total
  new = Codebook(avg_VxD / smoothed_V[:, None], avg_VxD, size_V, book.inited)
  any_kept = kept_T.sum() > 0
  return jax.tree.map(lambda a, b: jnp.where(any_kept, a, b), new, book)


def _sums(x_TxD, codes_T, kept_T, V):
  """Sum and count of the kept vectors of each code.

  As a matmul: unlike a scatter, it adds in the same order every time on a GPU.
  """
  hits_TxV = jax.nn.one_hot(codes_T, V) * kept_T[:, None]
  sum_VxD = jnp.matmul(hits_TxV.T, x_TxD, precision=lax.Precision.HIGHEST)
  return sum_VxD, hits_TxV.sum(0)
