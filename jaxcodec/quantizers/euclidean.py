"""EnCodec's residual quantiser: the nearest codes in codebooks of running means."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.dsp import matmul
from jaxcodec.quantizers import ema
from jaxcodec.quantizers.codebook import STATS, nearest, take
from jaxcodec.quantizers.residual import residual_codes
from jaxcodec.quantizers.search import best_codes
from jaxcodec.quantizers.stack import Level, ResidualStack


class EuclideanCodebook(nn.Module):
  """One codebook, kept in the collection `vq_stats`; see `ema.Codebook`.

  It starts with random codes, which `EmaRVQ.start` replaces.

  Attributes:
    width: D.
    codebook_size: V.
    choice_dim: channels of the linear projection in which the nearest code is looked
      for, None for the latent itself. The projection is a constant of `vq_stats`; it
      starts as the first channels of the latent.
  """

  width: int
  codebook_size: int
  choice_dim: int | None = None

  def setup(self):
    shape = (self.codebook_size, self.width)
    start = nn.initializers.he_uniform(in_axis=1, out_axis=0)
    self.embed = self.variable(
      STATS, "embed", lambda: start(self.make_rng("params"), shape)
    )
    self.embed_avg = self.variable(
      STATS, "embed_avg", lambda: jnp.copy(self.embed.value)
    )
    self.cluster_size = self.variable(STATS, "cluster_size", jnp.zeros, shape[:1])
    self.inited = self.variable(STATS, "inited", jnp.zeros, (1,))
    if self.choice_dim is not None:
      shape = self.width, self.choice_dim
      self.projection = self.variable(STATS, "projection", jnp.eye, *shape)

  def project(self, x_BxTxD: jax.Array) -> jax.Array:
    """Returns vectors or codes in the channels whose distance chooses codes."""
    if self.choice_dim is None:
      return x_BxTxD
    return matmul(x_BxTxD, self.projection.value)

  def nearest(self, x_BxTxD: jax.Array, embed_VxD: jax.Array) -> jax.Array:
    """Returns the codes (B, T) of vectors."""
    return nearest(self.project(x_BxTxD), self.project(embed_VxD))

  def get(self) -> ema.Codebook:
    return ema.Codebook(*(getattr(self, name).value for name in ema.Codebook._fields))

  def put(self, book: ema.Codebook) -> None:
    for name, value in book._asdict().items():
      getattr(self, name).value = value


class EmaRVQ(ResidualStack):
  """Residual stack of Euclidean codebooks that are running means (EMA).

  Before training, `start` sets the codebooks to k-means of a batch. In training
  (`train=True`) every batch updates them. Both need `vq_stats` mutable and an rng
  stream `quantizer`. All frames must be valid then, as training crops are: there is no
  mask.

  As in audiocraft, no gradient passes from a level's quantised vectors to the next
  level, and one straight-through estimator spans the stack. In encodec itself only the
  first level's commitment loss reaches the encoder.

  Source: encodec/quantization/{core_vq,vq}.py; audiocraft/quantization/core_vq.py.

  Attributes:
    width: channels of the latent, D, which is also that of the codes.
    num_codebooks: K.
    codebook_size: V.
    dropout, dropout_per: see `CodebookStack`; codebooks that an item does not use
      learn nothing from it.
    loss_reduction: see `ResidualStack`.
    decay, epsilon: see `ema.update`.
    threshold_ema_dead_code: running count below which a code is replaced, 0 for never;
      see `ema.least_count`.
    kmeans_iters: iterations of the k-means that starts a codebook.
    first_dim: the `choice_dim` of codebook 0, see `EuclideanCodebook`; None for all of
      the latent. Its codes are still means of whole latents, and the codebooks after it
      code what they leave. So codebook 0 can tell what a language model should say
      first, such as the envelope of a spectrum without its pitch.
    search: paths through the codebooks that are followed outside training; 1 takes the
      nearest code at each level. More find nearer sums of codes, for more time in
      encoding and none in decoding; see `search.best_codes`.
  """

  width: int
  num_codebooks: int
  codebook_size: int
  dropout: float = 0.0
  dropout_per: str = "batch"
  loss_reduction: str = "mean"
  decay: float = 0.99
  epsilon: float = 1e-5
  threshold_ema_dead_code: float = 2.0
  kmeans_iters: int = 50
  search: int = 1
  first_dim: int | None = None

  def __post_init__(self):
    if self.search < 1:
      raise ValueError(f"search must be positive, got {self.search}")
    if self.first_dim is not None and not 1 <= self.first_dim <= self.width:
      raise ValueError(f"first_dim must be 1 to {self.width}, got {self.first_dim}")
    super().__post_init__()

  def setup(self):
    self.layers = [
      EuclideanCodebook(
        self.width, self.codebook_size, self.first_dim if k == 0 else None
      )
      for k in range(self.num_codebooks)
    ]

  def start(self, z_BxTxD) -> None:
    """Starts each codebook that is not by k-means of what those before it leave.

    Frames that aren't finite don't count.
    """
    x_TxD = lax.stop_gradient(z_BxTxD).astype(jnp.float32).reshape(-1, self.width)
    finite_T = jnp.isfinite(x_TxD).all(-1)
    x_TxD = jnp.where(finite_T[:, None], x_TxD, 0)
    kept_T = finite_T.astype(jnp.float32)
    for layer in self.layers:
      rng = self.make_rng("quantizer")
      book = ema.start(
        layer.get(), rng, x_TxD, kept_T, self.kmeans_iters, layer.nearest
      )
      layer.put(book)
      x_TxD = x_TxD - take(book.embed, layer.nearest(x_TxD, book.embed))

  def decode(self, codes_BxTxK) -> jax.Array:
    """Returns the latent (B, T, D); fewer codebooks than K give a coarser one."""
    K = self.checked(codes_BxTxK.shape[-1])
    # Added one by one, which a CPU does far faster than a gather of all and a sum.
    return sum(take(self.layers[k].embed.value, codes_BxTxK[..., k]) for k in range(K))

  def search_codes(self, z_BxTxD, K):
    z_BxTxD = lax.stop_gradient(z_BxTxD)
    first, *others = books = [layer.embed.value for layer in self.layers[:K]]
    if self.first_dim is None:
      return self._follow(z_BxTxD, books)
    project = self.layers[0].project
    codes_BxTx1 = residual_codes(project(z_BxTxD), [project(first)])
    if not others:
      return codes_BxTx1
    left_BxTxD = z_BxTxD - take(first, codes_BxTx1[..., 0])
    return jnp.concatenate([codes_BxTx1, self._follow(left_BxTxD, others)], -1)

  def _follow(self, z_BxTxD, books):
    """Returns the codes of the best of `search` paths through codebooks."""
    if self.search == 1:
      return residual_codes(z_BxTxD, books)
    return best_codes(z_BxTxD, books, self.search)

  def level(self, k, residual_BxTxD, keep_B, train, found_BxT=None) -> Level:
    """Takes the codes that were found; in training chooses them and updates both."""
    x_BxTxD = lax.stop_gradient(residual_BxTxD)
    book, codes_BxT = self.layers[k].get(), found_BxT
    if train:
      codes_BxT = self._learn(self.layers[k], book, x_BxTxD, keep_B)
    chosen = take(book.embed, codes_BxT)
    error_B = jnp.mean((residual_BxTxD - chosen) ** 2, (1, 2))
    return Level(chosen, codes_BxT, {"commitment": error_B})

  def _learn(self, layer, book, x_BxTxD, keep_B):
    """Returns the codes that a codebook chooses; puts the updated one away."""
    kept_T = jnp.repeat(keep_B, x_BxTxD.shape[1])
    codes_BxT = layer.nearest(x_BxTxD, book.embed)
    layer.put(
      ema.update(
        book,
        self.make_rng("quantizer"),
        x_BxTxD.reshape(-1, self.width),
        codes_BxT.ravel(),
        kept_T,
        decay=self.decay,
        epsilon=self.epsilon,
        threshold=self.threshold_ema_dead_code,
      )
    )
    return codes_BxT

  def metrics(self, codes_BxTxK):
    """Adds `live`, (K,): the share of codes that aren't dead by `ema.least_count`."""
    K, frames = codes_BxTxK.shape[-1], codes_BxTxK[..., 0].size
    threshold = self.threshold_ema_dead_code or jnp.inf
    least = ema.least_count(threshold, frames, self.codebook_size)
    sizes = [layer.cluster_size.value for layer in self.layers[:K]]
    live = jnp.stack([jnp.mean(size_V >= least) for size_V in sizes])
    return {**super().metrics(codes_BxTxK), "live": live}
