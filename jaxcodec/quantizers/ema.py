"""Codebooks whose codes are running means of the vectors that chose them.

Pure functions of a codebook's state. All of them see the frames of the global batch,
and draw vectors by their position in it: one device and many give the same codebooks.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcodec.quantizers.codebook import nearest

# Returns the codes (T,) of vectors (T, D) in a codebook (V, D).
Choice = Callable[[jax.Array, jax.Array], jax.Array]


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
  """Draws `num` kept vectors, each once; fewer than that are repeated."""
  most = min(num, x_TxD.shape[0])
  order_T = jax.random.uniform(rng, kept_T.shape) + kept_T
  first = lax.top_k(order_T, most)[1]
  available = jnp.clip(kept_T.sum().astype(jnp.int32), 1, most)
  return x_TxD[first[jnp.arange(num) % available]]


def kmeans(
  x_TxD: jax.Array,
  kept_T: jax.Array,
  means_VxD: jax.Array,
  iterations: int,
  choose: Choice = nearest,
) -> tuple[jax.Array, jax.Array]:
  """Runs Lloyd's iterations; a mean that no vector is nearest to stays where it is.

  They end early when no mean moves, as none would in those that are left.

  Source: encodec/quantization/core_vq.py, kmeans.

  Returns:
    The means (V, D), and how many vectors were nearest to each at the end, (V,).
  """

  def iterate(carry):
    means_VxD, _, _, done = carry
    sum_VxD, count_V = _sum_by_code(
      x_TxD, choose(x_TxD, means_VxD), kept_T, len(means_VxD)
    )
    new_VxD = sum_VxD / jnp.maximum(count_V, 1)[:, None]
    new_VxD = jnp.where(count_V[:, None] > 0, new_VxD, means_VxD)
    return new_VxD, count_V, (new_VxD != means_VxD).any(), done + 1

  def unfinished(carry):
    _, _, moved, done = carry
    return moved & (done < iterations)

  nothing_V = jnp.zeros(means_VxD.shape[0])
  begin = means_VxD, nothing_V, jnp.array(True), jnp.int32(0)
  return lax.while_loop(unfinished, iterate, begin)[:2]


def start(
  book: Codebook,
  rng: jax.Array,
  x_TxD: jax.Array,
  kept_T: jax.Array,
  iterations: int,
  choose: Choice = nearest,
) -> Codebook:
  """Starts a codebook by k-means on its first vectors; a started one stays as it is.

  It costs as much either way, so it has no place in a training step. The running sum
  starts as mean times count. In the original it starts as the mean alone, so that the
  first step divides every code by its count.
  """
  means_VxD = sample_vectors(rng, x_TxD, kept_T, len(book.embed))
  means_VxD, count_V = kmeans(x_TxD, kept_T, means_VxD, iterations, choose)
  started = Codebook(
    means_VxD, means_VxD * count_V[:, None], count_V, jnp.ones_like(book.inited)
  )
  due = (book.inited[0] == 0) & (kept_T.sum() > 0)
  return jax.tree.map(lambda a, b: jnp.where(due, a, b), started, book)


def awaits_start(collections: Any) -> bool:
  """Whether a codebook among a codec's variables is not started; not for use in jit.

  Args:
    collections: nested dicts of arrays; those of a `Codebook` have its names.
  """
  if not isinstance(collections, Mapping):
    return False
  if collections.keys() >= set(Codebook._fields):
    return not np.asarray(collections["inited"]).all()
  return any(map(awaits_start, collections.values()))


def least_count(threshold: float, frames: jax.Array, codebook_size: int) -> jax.Array:
  """Returns the running count below which a code is dead.

  It is `threshold`, but at most half the mean count. The original's threshold of 2 is
  for batches of 4800 frames and 1024 codes; with few frames no code would reach it.
  """
  return jnp.minimum(threshold, 0.5 * frames / codebook_size)


def update(
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
  """Returns the codebook after one step of its running means.

  A code whose running count was below `least_count` is replaced by a random vector of
  the batch. Its count restarts as twice the least count, and its sum as that many times
  the vector; what chose the old code in this batch is not counted. The next step's mean
  is then still near the new vector, where the original returns to the old code, and the
  new code has log(1/2) / log(decay) steps (69 at 0.99) to be chosen before it is dead.

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
  sum_VxD, count_V = _sum_by_code(x_TxD, codes_T, kept_T, V)
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


def _sum_by_code(x_TxD, codes_T, kept_T, V):
  """Returns the sum (V, D) and the count (V,) of the kept vectors of each code.

  A matrix product, as a scatter on a GPU adds in another order every time.
  """
  hits_TxV = jax.nn.one_hot(codes_T, V) * kept_T[:, None]
  sum_VxD = jnp.matmul(hits_TxV.T, x_TxD, precision=lax.Precision.HIGHEST)
  return sum_VxD, hits_TxV.sum(0)


def average(averages: Any, now: Any, share: jax.Array) -> Any:
  """Moves the averages of a codec's variables towards what they are now.

  Codes are running means of the latents that a changing encoder gives, over a hundred
  steps at a decay of 0.99. The exported encoder is an average over ten times as many,
  which these are not the codes of. So they are averaged over the same steps, each code
  weighted by its running count, as their sums and counts are: an averaged code stays
  the quotient of the two. Other floats are averaged as weights are, constants keep
  their bits, and what is no float is as it is now.

  Args:
    averages: nested dicts of arrays; those of a `Codebook` have its names.
    now: the same of this step.
    share: of the new values in the average, 0 to 1.
  """
  if not isinstance(now, Mapping):
    floats = jnp.issubdtype(now.dtype, jnp.inexact)
    return averages + share * (now - averages) if floats else now
  moved = {name: average(averages[name], now[name], share) for name in now}
  if not moved.keys() >= set(Codebook._fields):
    return moved
  count_V, size_V = share * now["cluster_size"], moved["cluster_size"]
  of_new_V = count_V / jnp.where(size_V > 0, size_V, 1)
  way_VxD = now["embed"] - averages["embed"]
  embed = averages["embed"] + of_new_V[:, None] * way_VxD
  return {**moved, "embed": embed, "inited": now["inited"]}
