"""k-means on devices: k-means++ start, Lloyd's iterations, empty-cluster repair.

For semantic tokens, of all data until hardly anything moves. `quantizers.ema.kmeans`
starts codebooks from one batch, as the original does.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.nn import dsp
from jaxcodec.nn.ops import first_argmax, sum_rows

# Points whose distances to all centroids are in memory at once.
_BLOCK = 8192


class Clusters(NamedTuple):
  """The result of k-means.

  Attributes:
    centroid_VxD: float32.
    inertia: mean squared distance of the points to their centroids.
    iterations: how many ran.
  """

  centroid_VxD: jax.Array
  inertia: jax.Array
  iterations: jax.Array


def nearest(x_TxD: jax.Array, centroid_VxD: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns each point's nearest centroid (the first of equals) and squared distance.

  The index is int32 (T,).
  """
  score_TxV = dsp.matmul(x_TxD, centroid_VxD.T) - 0.5 * (centroid_VxD**2).sum(1)[None]
  distance_T = (x_TxD**2).sum(1) - 2 * score_TxV.max(1)
  return first_argmax(score_TxV), jnp.maximum(distance_T, 0)


def start(
  rng: jax.Array,
  x_TxD: jax.Array,
  num_clusters: int,
  size: int | None = None,
  whole: jax.sharding.Sharding | None = None,
) -> jax.Array:
  """Draws the centroids of k-means++, (V, D).

  Each is a point, drawn in proportion to its squared distance from those before.

  Source: Arthur and Vassilvitskii, 2007.

  Args:
    rng: key.
    x_TxD: points.
    num_clusters: V.
    size: how many rows, the first ones, are points and not padding; all if None.
    whole: sharding of the distances, replicated, if the points are sharded. A sum over
      shards would be rounded differently, and could draw another point.
  """
  size = x_TxD.shape[0] if size is None else size
  first_rng, rng = jax.random.split(rng)
  first_D = x_TxD[jax.random.randint(first_rng, (), 0, size)]
  centroid_VxD = jnp.zeros((num_clusters, x_TxD.shape[1])).at[0].set(first_D)

  def squared_distance(point_D):
    distance_T = ((x_TxD - point_D[None]) ** 2).sum(1)[:size]
    if whole is None:
      return distance_T
    return jax.lax.with_sharding_constraint(distance_T, whole)

  def add(v, carry):
    centroid_VxD, distance_T = carry
    total_T = jnp.cumsum(distance_T)
    draw = jax.random.uniform(jax.random.fold_in(rng, v)) * total_T[-1]
    # Neither rounding nor duplicates alone may lead past the last point.
    index = jnp.minimum(jnp.searchsorted(total_T, draw, side="right"), len(total_T) - 1)
    point_D = x_TxD[index]
    distance_T = jnp.minimum(distance_T, squared_distance(point_D))
    return centroid_VxD.at[v].set(point_D), distance_T

  carry = centroid_VxD, squared_distance(first_D)
  return jax.lax.fori_loop(1, num_clusters, add, carry)[0]


@functools.partial(jax.jit, static_argnames=("max_iterations", "size"))
def lloyd(
  x_TxD: jax.Array,
  centroid_VxD: jax.Array,
  max_iterations: int,
  size: int | None = None,
  tolerance: float = 1e-4,
) -> Clusters:
  """Runs Lloyd's iterations from given centroids until they hardly move.

  They end when the squared moves of all centroids sum to no more than `tolerance` times
  the mean variance of the points' channels, the rule of scikit-learn's `KMeans`. The
  centroids of clusters without points move to the points that are farthest from
  their own centroids, each to another.

  Args:
    x_TxD: points.
    centroid_VxD: where to start.
    max_iterations: bound on the iterations.
    size: as in `start`.
    tolerance: see above; with 0 none moves in the last iteration.
  """
  size = x_TxD.shape[0] if size is None else size
  points_BxTxD, real_BxT = _blocks(x_TxD, size)
  num_clusters = centroid_VxD.shape[0]

  def assign(centroid_VxD):
    def one(sums, block):
      x, real = block
      index_T, distance_T = nearest(x, centroid_VxD)
      weight_Tx1 = real.astype(jnp.float32)[:, None]
      sum_VxD = sums[0] + sum_rows(x * weight_Tx1, index_T, num_clusters)
      total = sum_VxD, sums[1] + sum_rows(weight_Tx1, index_T, num_clusters)[:, 0]
      return total, distance_T * weight_Tx1[:, 0]

    zero = jnp.zeros_like(centroid_VxD), jnp.zeros((num_clusters,))
    (sum_VxD, count_V), distance = jax.lax.scan(one, zero, (points_BxTxD, real_BxT))
    return sum_VxD, count_V, distance

  def update(carry):
    centroid_VxD, _, done = carry
    sum_VxD, count_V, distance = assign(centroid_VxD)
    mean_VxD = sum_VxD / jnp.maximum(count_V, 1)[:, None]
    empty_V = count_V == 0
    far = jax.lax.top_k(distance.reshape(-1), num_clusters)[1]
    far_VxD = points_BxTxD.reshape(-1, x_TxD.shape[1])[far]
    turn_V = jnp.maximum(jnp.cumsum(empty_V) - 1, 0)
    moved_VxD = jnp.where(empty_V[:, None], far_VxD[turn_V], mean_VxD)
    way = ((moved_VxD - centroid_VxD) ** 2).sum()
    return moved_VxD, way, done + 1

  def unfinished(carry):
    _, way, done = carry
    return (way > least) & (done < max_iterations)

  least = tolerance * _mean_variance(points_BxTxD, real_BxT)
  begin = centroid_VxD, jnp.array(jnp.inf), jnp.zeros((), jnp.int32)
  centroid_VxD, _, done = jax.lax.while_loop(unfinished, update, begin)
  inertia = assign(centroid_VxD)[2].sum() / size
  return Clusters(centroid_VxD, inertia, done)


def fit(
  rng: jax.Array,
  x_TxD: np.ndarray,
  num_clusters: int,
  max_iterations: int = 100,
  sharding: jax.sharding.NamedSharding | None = None,
) -> Clusters:
  """Clusters points; the same rng and points give the same centroids.

  Those of several devices differ by rounding.

  Args:
    rng: key of the start.
    x_TxD: float32 points.
    num_clusters: V.
    max_iterations: bound on Lloyd's iterations.
    sharding: of the points over devices; all on one if None.

  Raises:
    ValueError: there are fewer points than clusters.
  """
  size = x_TxD.shape[0]
  if size < num_clusters:
    raise ValueError(
      f"k-means needs at least num_clusters = {num_clusters} points, got {size}"
    )
  if sharding is None:
    x_TxD, whole = jnp.asarray(x_TxD), None
  else:
    x_TxD = jax.device_put(_divisible(x_TxD, sharding.mesh.size), sharding)
    whole = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
  begin = jax.jit(start, static_argnums=(2, 3, 4))
  centroid_VxD = begin(rng, x_TxD, num_clusters, size, whole)
  return lloyd(x_TxD, centroid_VxD, max_iterations, size)


def _mean_variance(points_BxTxD, real_BxT):
  """Returns the variance of the points that aren't padding, the mean over channels."""
  real_BxTx1 = real_BxT[..., None]
  size = real_BxT.sum()
  mean_D = jnp.where(real_BxTx1, points_BxTxD, 0).sum((0, 1)) / size
  from_mean = jnp.where(real_BxTx1, points_BxTxD - mean_D.reshape(1, 1, -1), 0)
  return ((from_mean**2).sum((0, 1)) / size).mean()


def _divisible(x_TxD, parts):
  """Pads points with zeros to blocks that the devices share evenly."""
  size = x_TxD.shape[0]
  missing = -size % (parts * -(-size // _BLOCK))
  return np.pad(x_TxD, ((0, missing), (0, 0)))


def _blocks(x_TxD, real_size):
  """Returns points in blocks (B, T, D), and which of them aren't padding, (B, T).

  Neighbours go to different blocks, so that each device keeps its points.
  """
  size, width = x_TxD.shape
  num = -(-real_size // _BLOCK)
  padding = -size % num
  real = jnp.arange(size + padding) < real_size
  points = jnp.pad(x_TxD, ((0, padding), (0, 0))).reshape(-1, num, width)
  return jnp.swapaxes(points, 0, 1), jnp.swapaxes(real.reshape(-1, num), 0, 1)
