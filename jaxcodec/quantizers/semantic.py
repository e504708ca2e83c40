"""A first codebook that is taught what is said, beside a residual stack for the rest.

Source: Defossez et al. 2024 (Moshi, arXiv 2410.00037), section 3.3.2, whose codec Mimi
distils WavLM; after Zhang et al. 2023 (SpeechTokenizer, arXiv 2308.16692).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import torch_uniform
from jaxcodec.quantizers.codebook import l2_normalize
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.stack import CodebookStack
from jaxcodec.types import Quantized


class SemanticRVQ(CodebookStack):
  """One codebook and a residual stack of K - 1 side by side, whose outputs are added.

  Each quantises a projection of the latent, and is projected back. The stack need not
  correct what the first codebook left over, which may so give up sound for meaning.
  In training, the first codebook's output is mapped by one linear layer to semantic
  features of the same frames. The loss `distill` is 1 less the cosine of both, a mean
  over frames; it teaches the first codebook, its projections and the encoder.

  Losses are sums over levels. `snr_db` is of the projection that each quantises, and
  begins again with the second codebook.

  Attributes:
    width: channels of the latent, D, which is also that of the codes.
    num_codebooks: K, at least 2.
    codebook_size: V.
    semantic_dim: S, channels of the features: 26 of MFCC, 768 of HuBERT's base model.
    dropout, dropout_per: see `CodebookStack`; the first codebook is always in use.
  """

  width: int
  num_codebooks: int
  codebook_size: int
  semantic_dim: int = 26
  dropout: float = 0.0
  dropout_per: str = "item"

  def __post_init__(self):
    if self.num_codebooks < 2:
      raise ValueError(f"num_codebooks must be at least 2, got {self.num_codebooks}")
    super().__post_init__()

  def setup(self):
    self.first_in, self.first_out = self._linear(), self._linear()
    self.rest_in, self.rest_out = self._linear(), self._linear()
    size = dict(codebook_size=self.codebook_size, loss_reduction="sum")
    self.first = EmaRVQ(self.width, 1, **size)
    self.rest = EmaRVQ(self.width, self.num_codebooks - 1, **size)
    self.to_semantic = nn.Dense(self.semantic_dim)

  def _linear(self):
    start = torch_uniform(self.width)
    precision = lax.Precision.HIGHEST
    return nn.Dense(self.width, False, precision=precision, kernel_init=start)

  def __call__(
    self, z_BxTxD, *, num_codebooks=None, train=False, semantic_BxTxS=None
  ) -> Quantized:
    """Quantises z_BxTxD; see `Quantizer`.

    Args:
      z_BxTxD, num_codebooks, train: see `Quantizer`.
      semantic_BxTxS: what the first codebook is taught; None for no loss `distill`.

    Raises:
      ValueError: num_codebooks is not between 1 and K.
    """
    K = self.checked(num_codebooks)
    z_BxTxD = z_BxTxD.astype(jnp.float32)
    used_B = self.used(z_BxTxD.shape[0], K, train)
    parts = [self.first.quantize(self.first_in(z_BxTxD), used_B, 1, train)]
    latent = output = self.first_out(parts[0].z_BxTxD)
    if K > 1:
      projected = self.rest_in(z_BxTxD)
      parts.append(self.rest.quantize(projected, used_B - 1, K - 1, train))
      latent = output + self.rest_out(parts[1].z_BxTxD)
    predicted = self.to_semantic(output)
    losses = {"commitment": sum(part.losses["commitment"] for part in parts)}
    if semantic_BxTxS is not None:
      losses["distill"] = _distance(predicted, lax.stop_gradient(semantic_BxTxS))
    metrics = [part.metrics for part in parts]
    return Quantized(
      latent,
      jnp.concatenate([part.codes_BxTxK for part in parts], -1),
      losses,
      {name: jnp.concatenate([m[name] for m in metrics]) for name in metrics[0]},
    )

  def start(self, z_BxTxD) -> None:
    """Starts the codebooks by k-means of their own projections of latents."""
    z_BxTxD = z_BxTxD.astype(jnp.float32)
    self.first.start(self.first_in(z_BxTxD))
    self.rest.start(self.rest_in(z_BxTxD))

  def decode(self, codes_BxTxK) -> jax.Array:
    """Returns the latent (B, T, D); fewer codebooks than K give a coarser one."""
    K = self.checked(codes_BxTxK.shape[-1])
    first = self.first_out(self.first.decode(codes_BxTxK[..., :1]))
    if K == 1:
      return first
    return first + self.rest_out(self.rest.decode(codes_BxTxK[..., 1:]))


def _distance(x_BxTxS, y_BxTxS):
  """Returns 1 less the cosine of vectors, a mean over frames."""
  return 1 - jnp.mean(jnp.sum(l2_normalize(x_BxTxS) * l2_normalize(y_BxTxS), -1))
