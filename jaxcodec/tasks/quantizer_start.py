"""Starts quantisers other than the EMA one on the latents that they will quantise.

With each a codec begins near what `magnitude_start` gives the EMA codebooks, so that a
comparison after minutes is of quantisers rather than of their first steps.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.nn.dsp import matmul
from jaxcodec.quantizers import ema
from jaxcodec.quantizers.codebook import STATS, nearest, take
from jaxcodec.quantizers.factorized import FactorizedRVQ, FactorizedVQ
from jaxcodec.quantizers.fsq import FSQ
from jaxcodec.quantizers.simvq import SimRVQ
from jaxcodec.semantic import kmeans

Tree = dict[str, Any]

FITTED = ("factorized_rvq", "simvq", "fsq")  # names of those that `fit` changes

_RCOND = 1e-6  # squares below this share of the greatest count as none
_FAR = 3.0  # of the root mean square length of what is seen
_LEAST = 1e-3  # of the greatest deviation: components below are rounding errors
_TINY = 1e-3  # of a unit direction, as a norm of zero has no gradient


def fit(
  quantizer: Any,
  variables: Tree,
  rng: jax.Array,
  latent_TxD: jax.Array,
  iterations: int,
) -> tuple[Tree, jax.Array]:
  """Returns a quantiser's variables, fitted to latents, and what it makes of these.

  - `FactorizedRVQ`: a level looks at the principal components of what the levels before
    left, all but one of its dimensions. The last one is a constant far off, with which
    the nearest direction is the nearest point. Its codes are k-means of these points.
  - `SimRVQ`: a level's linear layer makes its random codes as spread as what is left,
    and is then fitted to it in turns with the choice of codes.
  - `FSQ`: channels are principal components of unit variance, the strongest first, and
    the projection back is fitted to the rounded ones.

  Another quantiser stays as it is, and its latents too, as one with codes of a single
  dimension does.

  Args:
    quantizer: unbound.
    variables: its collections, `params` and others.
    rng: key, draws the vectors that k-means starts from.
    latent_TxD: at least as many as it has codes.
    iterations: of each fit in turns.
  """
  for kind, function in _FITS.items():
    if isinstance(quantizer, kind):
      return function(quantizer, variables, rng, latent_TxD, iterations)
  return variables, latent_TxD


def _fit_factorized(quantizer, variables, rng, residual_TxD, iterations):
  if not 2 <= quantizer.codebook_dim <= quantizer.width:
    return variables, residual_TxD  # no dimension is left beside the constant
  module = FactorizedVQ(
    quantizer.width, quantizer.codebook_size, quantizer.codebook_dim
  )
  params, total_TxD = {}, jnp.zeros_like(residual_TxD)
  for k in range(quantizer.num_codebooks):
    key = jax.random.fold_in(rng, k)
    level = _factorized_level(key, residual_TxD, module, iterations)
    with jax.default_matmul_precision("highest"):
      output_TxD = module.apply({"params": level}, residual_TxD[None])[0][0]
    params[f"quantizers_{k}"] = level
    total_TxD, residual_TxD = total_TxD + output_TxD, residual_TxD - output_TxD
  return {**variables, "params": params}, total_TxD


@functools.partial(jax.jit, static_argnums=(2, 3))
def _factorized_level(rng, x_TxD, module, iterations):
  down_Dxd, _ = _components(x_TxD, module.codebook_dim)
  seen_TxS = matmul(x_TxD, down_Dxd)[:, :-1]
  begin = ema.sample_vectors(rng, seen_TxS, jnp.ones(len(x_TxD)), module.codebook_size)
  centroid_VxS = kmeans.lloyd(seen_TxS, begin, iterations).centroid_VxD
  far = _FAR * jnp.sqrt(jnp.mean(jnp.sum(seen_TxS**2, -1)))
  up, bias_D = _least_squares(
    take(centroid_VxS, nearest(seen_TxS, centroid_VxS)), x_TxD
  )
  length_d = jnp.ones(module.codebook_dim).at[-1].set(_TINY)
  up_dxD = jnp.pad(up, ((0, 1), (0, 0)))
  norm_D = jnp.linalg.norm(up_dxD, axis=0)
  return {
    "in_proj": {
      "kernel": down_Dxd[None],
      "scale": length_d.reshape(1, 1, -1),
      "bias": jnp.zeros(module.codebook_dim).at[-1].set(far),
    },
    "codebook": jnp.pad(centroid_VxS, ((0, 0), (0, 1)), constant_values=far),
    "out_proj": {
      "kernel": jnp.where(norm_D == 0, 1.0, up_dxD)[None],  # a direction has a norm
      "scale": norm_D.reshape(1, 1, -1),
      "bias": bias_D,
    },
  }


def _fit_simvq(quantizer, variables, rng, residual_TxD, iterations):
  params, total_TxD = {}, jnp.zeros_like(residual_TxD)
  for k in range(quantizer.num_codebooks):
    frozen_VxD = variables[STATS][f"layers_{k}"]["frozen"]
    linear, output_TxD = _simvq_level(frozen_VxD, residual_TxD, iterations)
    params[f"layers_{k}"] = {"linear": linear}
    total_TxD, residual_TxD = total_TxD + output_TxD, residual_TxD - output_TxD
  return {**variables, "params": params}, total_TxD


@functools.partial(jax.jit, static_argnums=2)
def _simvq_level(frozen_VxD, x_TxD, iterations):
  def assign(linear):
    embed_VxD = matmul(frozen_VxD, linear[0]) + linear[1][None]
    return embed_VxD, nearest(x_TxD, embed_VxD)

  def refit(_, linear):
    return _least_squares(take(frozen_VxD, assign(linear)[1]), x_TxD)

  spread = frozen_VxD.std()
  direction_DxD, deviation_D = _components(x_TxD, x_TxD.shape[1])
  kernel = (direction_DxD * (deviation_D / spread)[None]).T
  linear = jax.lax.fori_loop(0, iterations, refit, (kernel, x_TxD.mean(0)))
  embed_VxD, codes_T = assign(linear)
  return {"kernel": linear[0], "bias": linear[1]}, take(embed_VxD, codes_T)


def _fit_fsq(quantizer, variables, rng, latent_TxD, iterations):
  params = variables["params"]
  kernel = params["project_in"]["kernel"]
  normed_TxD = latent_TxD - latent_TxD.mean(-1, keepdims=True)
  normed_TxD /= normed_TxD.std(-1, keepdims=True) + 1e-6
  width, count = kernel.shape[-1], min(kernel.shape[1:])
  direction_Dxd, deviation_d = _components(normed_TxD, count)
  there_d = (deviation_d > _LEAST * deviation_d[0])[None]
  whiten_Dxd = direction_Dxd / jnp.where(there_d, deviation_d[None], 1.0)
  whiten_Dxd = jnp.where(there_d, whiten_Dxd, kernel[0, :, :count])
  params = {**params, "project_in": {"kernel": kernel.at[0, :, :count].set(whiten_Dxd)}}
  unit = {"kernel": jnp.eye(width)[None], "bias": jnp.zeros(width)}
  rounds = quantizer.clone(width=width)
  scaled_TxC = rounds.apply(
    {"params": {**params, "project_out": unit}}, latent_TxD[None]
  ).z_BxTxD[0]
  up_CxD, bias_D = _least_squares(scaled_TxC, latent_TxD)
  params["project_out"] = {"kernel": up_CxD[None], "bias": bias_D}
  return {**variables, "params": params}, matmul(scaled_TxC, up_CxD) + bias_D[None]


def _components(x_TxD, count):
  """Returns the first principal components (D, count) and deviations along them."""
  x_TxD = x_TxD - x_TxD.mean(0)[None]
  variance_D, direction_DxD = jnp.linalg.eigh(matmul(x_TxD.T, x_TxD) / len(x_TxD))
  last = slice(None, -count - 1, -1)
  return direction_DxD[:, last], jnp.sqrt(jnp.maximum(variance_D[last], 0))


def _least_squares(x_TxS, y_TxD):
  """Returns the kernel (S, D) and bias (D,) that give y of x best."""
  mean_S, mean_D = x_TxS.mean(0), y_TxD.mean(0)
  x_TxS, y_TxD = x_TxS - mean_S[None], y_TxD - mean_D[None]
  inverse_SxS = jnp.linalg.pinv(matmul(x_TxS.T, x_TxS), rcond=_RCOND, hermitian=True)
  kernel_SxD = matmul(inverse_SxS, matmul(x_TxS.T, y_TxD))
  return kernel_SxD, mean_D - matmul(mean_S[None], kernel_SxD)[0]


_FITS = {FactorizedRVQ: _fit_factorized, SimRVQ: _fit_simvq, FSQ: _fit_fsq}
