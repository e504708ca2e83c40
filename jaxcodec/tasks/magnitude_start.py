"""Starts a codec of magnitudes on the features of audio, before any training.

A codec so started already codes audio; training then improves on it from the first
step, where one with random codebooks must learn them and the decoder at once.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import linalg

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.magnitude import MagnitudeDecoder, MagnitudeEncoder
from jaxcodec.nn.dsp import matmul
from jaxcodec.quantizers import ema
from jaxcodec.quantizers.codebook import nearest, take
from jaxcodec.quantizers.euclidean import STATS, EmaRVQ
from jaxcodec.semantic import kmeans
from jaxcodec.tasks import quantizer_start

_ROWS = 16  # of audio whose features are computed at once
_RIDGE = 5e-5  # for latents' squares of about 0.1


def start(
  codec: Codec,
  variables: Any,
  rng: jax.Array,
  audio_BxN: np.ndarray,
  *,
  batch_frames: int,
  iterations: int = 8,
) -> dict[str, Any]:
  """Returns a fresh codec's variables, fitted to audio.

  The encoder's mean is that of the features. Each codebook of an `EmaRVQ` holds k-means
  of what those before leave of them, and the decoder's linear map is the ridge
  regression of the magnitudes on the quantised latents. `quantizer_start` fits other
  quantisers. Equal arguments give equal variables.

  Args:
    codec: with the encoder and decoder of magnitudes.
    variables: of `codec.init`; the networks in them give zero.
    rng: draws the vectors that k-means starts from.
    audio_BxN: crops of training audio, N a multiple of the hop; some 60 latent frames
      for each code make good codebooks.
    batch_frames: latent frames of a training batch, which the codebooks' running counts
      are scaled to.
    iterations: of each k-means.

  Raises:
    ValueError: another kind of codec, halves that do not fit, or fewer latent frames
      than codes.
  """
  _check(codec, audio_BxN)
  bands_TxD, target_BxTxD = _features(codec, variables["params"], audio_BxN)
  mean_D = bands_TxD.mean(0)
  latent_TxD = bands_TxD - mean_D[None]
  of_quantizer = {name: part.get("quantizer", {}) for name, part in variables.items()}
  if isinstance(codec.quantizer, EmaRVQ):
    books, latent_TxD = _codebooks(codec, rng, latent_TxD, batch_frames, iterations)
    of_quantizer[STATS] = books
  else:
    of_quantizer, latent_TxD = quantizer_start.fit(
      codec.quantizer, of_quantizer, rng, latent_TxD, iterations
    )
  latent_BxTxD = latent_TxD.reshape(*target_BxTxD.shape[:2], -1)
  params = variables["params"]
  fitted = {
    "encoder": {**params["encoder"], "mean": mean_D},
    "decoder": _fit(params["decoder"], latent_BxTxD, target_BxTxD),
  }
  started = {
    name: {**part, "quantizer": of_quantizer[name]} if of_quantizer[name] else part
    for name, part in variables.items()
  }
  return {**started, "params": {**started["params"], **fitted}}


def start_decoder(codec: Codec, variables: Any, audio_BxN: np.ndarray) -> Any:
  """Returns a codec's variables with the decoder's linear map fitted to its tokens.

  Args:
    codec: with the encoder and decoder of magnitudes.
    variables: of a trained encoder and quantiser, and of a fresh decoder.
    audio_BxN: crops of training audio, N a multiple of the hop.

  Raises:
    ValueError: see `start`.
  """
  _check(codec, audio_BxN)
  _, target_BxTxD = _features(codec, variables["params"], audio_BxN)

  @jax.jit
  def latent(audio_BxN):
    method = lambda codec, x: codec.quantizer(codec.encoder(x)).z_BxTxD  # noqa: E731
    return codec.apply(variables, audio_BxN[..., None], method=method)

  latent_BxTxD = jnp.concatenate([latent(rows) for rows in _pieces(audio_BxN)])
  decoder = _fit(variables["params"]["decoder"], latent_BxTxD, target_BxTxD)
  return {**variables, "params": {**variables["params"], "decoder": decoder}}


def _fit(decoder, latent_BxTxD, target_BxTxD):
  """Returns a decoder's parameters with its linear map fitted."""
  linear = _regression(latent_BxTxD, target_BxTxD, decoder["linear"])
  return {**decoder, "linear": linear}


def _pieces(audio_BxN):
  return [audio_BxN[i : i + _ROWS] for i in range(0, len(audio_BxN), _ROWS)]


def _check(codec, audio_BxN):
  kinds = (MagnitudeEncoder, MagnitudeDecoder)
  parts = (codec.encoder, codec.decoder)
  for part, kind in zip(parts, kinds, strict=True):
    if not isinstance(part, kind):
      raise ValueError(f"the codec must have {kind.__name__}, got {part.name or part}")
  for name in ("n_fft", "hop", "sub_hop", "power"):
    ours, theirs = getattr(codec.encoder, name), getattr(codec.decoder, name)
    if ours != theirs:
      raise ValueError(
        f"encoder and decoder must have one {name}, got {ours} and {theirs}"
      )
  hop, codes = codec.encoder.hop, codec.quantizer.codebook_size
  if audio_BxN.shape[1] % hop:
    raise ValueError(f"audio must be of whole hops of {hop}, got {audio_BxN.shape}")
  if (frames := audio_BxN.size // hop) < codes:
    raise ValueError(f"{codes} codes need as many frames or more, got {frames}")


def _features(codec, params, audio_BxN):
  """Returns the bands (frames, D), and compressed magnitudes (B, T, sub-frames * F)."""
  features = codec.encoder.features

  @jax.jit
  def both(audio_BxN):
    bands_BxTxD = codec.encoder.apply(
      {"params": params["encoder"]}, audio_BxN[..., None], method="bands"
    )
    magnitude = features.compress(features.magnitudes(audio_BxN))
    return bands_BxTxD, magnitude.reshape(*bands_BxTxD.shape[:2], -1)

  pieces = [both(rows) for rows in _pieces(audio_BxN)]
  bands_BxTxD, target_BxTxD = map(jnp.concatenate, zip(*pieces, strict=True))
  return bands_BxTxD.reshape(-1, codec.encoder.output_dim), target_BxTxD


def _codebooks(codec, rng, residual_TxD, batch_frames, iterations):
  """Returns the variables of all codebooks, and the quantised vectors (T, D)."""
  quantizer, frames = codec.quantizer, len(residual_TxD)
  books, quantized_TxD = {}, jnp.zeros_like(residual_TxD)
  for k in range(quantizer.num_codebooks):
    projection = _envelope(codec) if k == 0 and quantizer.first_dim else None
    embed_VxD, codes_T = _clusters(
      jax.random.fold_in(rng, k),
      residual_TxD,
      quantizer.codebook_size,
      iterations,
      projection,
    )
    count_V = jnp.bincount(codes_T, length=len(embed_VxD)).astype(jnp.float32)
    count_V = count_V * (batch_frames / frames)
    book = ema.Codebook(embed_VxD, embed_VxD * count_V[:, None], count_V, jnp.ones(1))
    constants = {} if projection is None else {"projection": projection}
    books[f"layers_{k}"] = {**book._asdict(), **constants}
    chosen_TxD = take(embed_VxD, codes_T)
    quantized_TxD, residual_TxD = quantized_TxD + chosen_TxD, residual_TxD - chosen_TxD
  return books, quantized_TxD


def _envelope(codec):
  """Returns the projection of a latent to the envelope of its frames' mean."""
  encoder = codec.encoder
  envelope_MxS = encoder.features.envelope(codec.quantizer.first_dim)
  return jnp.tile(envelope_MxS, (encoder.hop // encoder.sub_hop, 1))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _clusters(rng, x_TxD, size, iterations, projection):
  """Returns the means of clusters of vectors, (V, D), and each vector's code, (T,).

  They are clusters of the vectors' projections, if there is a projection.
  """
  seen_TxS = x_TxD if projection is None else matmul(x_TxD, projection)
  begin_VxS = ema.sample_vectors(rng, seen_TxS, jnp.ones(len(x_TxD)), size)
  centroid_VxS = kmeans.lloyd(seen_TxS, begin_VxS, iterations).centroid_VxD
  codes_T = nearest(seen_TxS, centroid_VxS)
  if projection is None:
    return centroid_VxS, codes_T
  sum_VxD = jax.ops.segment_sum(x_TxD, codes_T, size)
  count_V = jnp.bincount(codes_T, length=size)
  return sum_VxD / jnp.maximum(count_V, 1)[:, None], codes_T


@jax.jit
def _regression(latent_BxTxD, target_BxTxD, linear):
  """Fits the convolution's kernel and bias to give the targets."""
  taps, D, outputs = linear["kernel"].shape
  T, around = latent_BxTxD.shape[1], taps // 2
  padded = jnp.pad(latent_BxTxD, ((0, 0), (around, around), (0, 0)))
  x = jnp.concatenate([padded[:, i : i + T] for i in range(taps)], -1)
  x, y = x.reshape(-1, taps * D), target_BxTxD.reshape(-1, outputs)
  bias = y.mean(0)
  highest = jax.lax.Precision.HIGHEST
  gram = jnp.matmul(x.T, x, precision=highest) + _RIDGE * len(x) * jnp.eye(taps * D)
  moments = jnp.matmul(x.T, y - bias[None], precision=highest)
  kernel = linalg.solve(gram, moments, assume_a="pos")
  return {"kernel": kernel.reshape(taps, D, outputs), "bias": bias}
