"""EnCodec's residual quantiser: the nearest codes in codebooks of running means."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.quantizers import ema
from jaxcodec.quantizers.codebook import STATS, nearest, take
from jaxcodec.quantizers.search import best_codes
from jaxcodec.quantizers.stack import CodebookStack
from jaxcodec.types import Quantized


class EuclideanCodebook(nn.Module):
  """One codebook, kept in the collection `vq_stats`; see `ema.Codebook`.

  It starts with random codes, which the first batch in training replaces.
  """

  width: int
  codebook_size: int

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

  def get(self) -> ema.Codebook:
    return ema.Codebook(*(getattr(self, name).value for name in ema.Codebook._fields))

  def put(self, book: ema.Codebook) -> None:
    for name, value in book._asdict().items():
      getattr(self, name).value = value


class EmaRVQ(CodebookStack):
  """Residual stack of Euclidean codebooks that are running means (EMA).

  In training (`train=True`, with `vq_stats` mutable and an rng stream `quantizer`) the
  first batch starts the codebooks by k-means and every batch updates them. All frames
  must be valid then, as training crops are: there is no mask.

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
    decay, epsilon: see `ema.update`.
    threshold_ema_dead_code: running count below which a code is replaced, 0 for never;
      see `ema.least_count`.
    kmeans_iters: iterations of the k-means that starts a codebook.
    search: paths through the codebooks that are followed outside training; 1 takes the
      nearest code at each level. More find nearer sums of codes, for more time in
      encoding and none in decoding; see `search.best_codes`.
  """

  width: int
  num_codebooks: int
  codebook_size: int
  dropout: float = 0.0
  dropout_per: str = "batch"
  decay: float = 0.99
  epsilon: float = 1e-5
  threshold_ema_dead_code: float = 2.0
  kmeans_iters: int = 50
  search: int = 1

  def __post_init__(self):
    if self.search < 1:
      raise ValueError(f"search must be positive, got {self.search}")
    super().__post_init__()

  def setup(self):
    self.layers = [
      EuclideanCodebook(self.width, self.codebook_size)
      for _ in range(self.num_codebooks)
    ]

  def __call__(self, z_BxTxD, *, num_codebooks=None, train=False) -> Quantized:
    """Quantises z_BxTxD; see `Quantizer`.

    The loss `commitment` is the mean over the levels that an item uses. The metric
    `live`, (num_codebooks,), is the fraction of a codebook's codes that aren't dead by
    `ema.least_count`.

    Raises:
      ValueError: num_codebooks is not between 1 and K.
    """
    K = self.checked(num_codebooks)
    z_BxTxD = residual = z_BxTxD.astype(jnp.float32)
    used_B = self.used(z_BxTxD.shape[0], K, train)
    total, commitment_B, codes = 0.0, 0.0, []
    found_BxTxK = None if train else self._search(lax.stop_gradient(z_BxTxD), K)
    for k, layer in enumerate(self.layers[:K]):
      keep_B = (k < used_B).astype(jnp.float32)
      if found_BxTxK is None:
        x_BxTxD = lax.stop_gradient(residual)
        chosen, codes_BxT = self._level(layer, x_BxTxD, keep_B, train)
      else:
        codes_BxT = found_BxTxK[..., k]
        chosen = take(layer.embed.value, codes_BxT)
      error_B = jnp.mean((residual - chosen) ** 2, (1, 2))
      commitment_B = commitment_B + error_B * keep_B / used_B
      residual = residual - chosen
      total = total + chosen * keep_B.reshape(-1, 1, 1)
      codes.append(codes_BxT)
    codes_BxTxK = jnp.stack(codes, -1)
    live = self._live(K, codes_BxTxK[..., 0].size)
    # Adds zero, whose gradient is one: `decode` of the codes gives the same bits.
    straight_through = total + (z_BxTxD - lax.stop_gradient(z_BxTxD))
    return Quantized(
      straight_through,
      codes_BxTxK,
      losses={"commitment": commitment_B.mean()},
      metrics={**self.metrics(codes_BxTxK), "live": live},
    )

  def decode(self, codes_BxTxK) -> jax.Array:
    """Returns the latent (B, T, D); fewer codebooks than K give a coarser one."""
    K = self.checked(codes_BxTxK.shape[-1])
    # Added one by one, which a CPU does far faster than a gather of all and a sum.
    return sum(take(self.layers[k].embed.value, codes_BxTxK[..., k]) for k in range(K))

  def _search(self, z_BxTxD, K):
    """Returns the codes of the first K levels, None if each is to choose by itself."""
    if self.search == 1:
      return None
    books = [layer.embed.value for layer in self.layers[:K]]
    return best_codes(z_BxTxD, books, self.search)

  def _level(self, layer, x_BxTxD, keep_B, train):
    """Returns the chosen vectors and their codes; updates the codebook in training."""
    book = layer.get()
    if not train:
      codes_BxT = nearest(x_BxTxD, book.embed)
      return take(book.embed, codes_BxT), codes_BxT
    x_TxD = x_BxTxD.reshape(-1, self.width)
    kept_T = jnp.repeat(keep_B, x_BxTxD.shape[1])
    start, revive = jax.random.split(self.make_rng("quantizer"))
    book = ema.start(book, start, x_TxD, kept_T, self.kmeans_iters)
    codes_BxT = nearest(x_BxTxD, book.embed)
    layer.put(
      ema.update(
        book,
        revive,
        x_TxD,
        codes_BxT.ravel(),
        kept_T,
        decay=self.decay,
        epsilon=self.epsilon,
        threshold=self.threshold_ema_dead_code,
      )
    )
    return take(book.embed, codes_BxT), codes_BxT

  def _live(self, K, frames):
    """Returns the fraction of each codebook's codes that are in use, (K,)."""
    threshold = self.threshold_ema_dead_code or jnp.inf
    least = ema.least_count(threshold, frames, self.codebook_size)
    sizes = [layer.cluster_size.value for layer in self.layers[:K]]
    return jnp.stack([jnp.mean(size_V >= least) for size_V in sizes])
