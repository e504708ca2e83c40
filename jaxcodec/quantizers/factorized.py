"""DAC's residual quantiser: factorised, L2-normalised look-up, trained by gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import Conv1d
from jaxcodec.quantizers.codebook import (
  code_counts,
  first_argmax,
  l2_normalize,
  perplexity,
)
from jaxcodec.types import Quantized


class FactorizedVQ(nn.Module):
  """One codebook in a low-dimensional projection of the latent.

  The nearest code is looked up between normalised vectors; the un-normalised code is
  what is output and what both losses see. Source: dac/nn/quantize.py, VectorQuantize.
  """

  width: int
  codebook_size: int
  codebook_dim: int

  def setup(self):
    self.in_proj = Conv1d(self.codebook_dim)
    self.out_proj = Conv1d(self.width)
    self.codebook = self.param(
      "codebook", nn.initializers.normal(1.0), (self.codebook_size, self.codebook_dim)
    )

  def __call__(self, z_BxTxD):
    """Returns (output_BxTxD, codes_BxT, commitment_B, codebook_B)."""
    encoded = self.in_proj(z_BxTxD)
    codes_BxT = self.lookup(encoded)
    chosen = self.codebook[codes_BxT]
    commitment_B = jnp.mean((encoded - lax.stop_gradient(chosen)) ** 2, (1, 2))
    codebook_B = jnp.mean((chosen - lax.stop_gradient(encoded)) ** 2, (1, 2))
    straight_through = encoded + lax.stop_gradient(chosen - encoded)
    return self.out_proj(straight_through), codes_BxT, commitment_B, codebook_B

  def lookup(self, encoded):
    scores = jnp.einsum(
      "btd,vd->btv",
      *(l2_normalize(encoded), l2_normalize(self.codebook)),
      precision=lax.Precision.HIGHEST,
    )
    return first_argmax(lax.stop_gradient(scores))

  def decode(self, codes_BxT):
    return self.out_proj(self.codebook[codes_BxT])


class FactorizedRVQ(nn.Module):
  """Residual stack of factorised codebooks with quantiser dropout.

  In training the first `dropout * B` items of a batch use a number of codebooks drawn
  uniformly from 1 to num_codebooks (rng stream `quantizer`); their losses count only
  those. Source: dac/nn/quantize.py, ResidualVectorQuantize.

  Attributes:
    width: channels of the latent, D.
    num_codebooks: K.
    codebook_size: V.
    codebook_dim: dimension of the look-up.
    dropout: share of the items with fewer codebooks in training.
  """

  width: int
  num_codebooks: int
  codebook_size: int
  codebook_dim: int = 8
  dropout: float = 0.0

  def setup(self):
    self.quantizers = [
      FactorizedVQ(self.width, self.codebook_size, self.codebook_dim)
      for _ in range(self.num_codebooks)
    ]

  def __call__(self, z_BxTxD, *, num_codebooks=None, train=False) -> Quantized:
    """Quantises z_BxTxD with the first `num_codebooks` codebooks (default: all).

    Raises:
      ValueError: num_codebooks is not between 1 and K.
    """
    K = _checked(num_codebooks, self.num_codebooks)
    z_BxTxD = z_BxTxD.astype(jnp.float32)
    used_B = self._draw(z_BxTxD.shape[0], K) if train else None
    total, residual, codes, losses = 0.0, z_BxTxD, [], jnp.zeros(2)
    for k, quantizer in enumerate(self.quantizers[:K]):
      output, codes_BxT, commitment_B, codebook_B = quantizer(residual)
      residual = residual - output
      if used_B is not None:
        keep_B = (k < used_B).astype(jnp.float32)
        output = output * keep_B.reshape(-1, 1, 1)
        commitment_B, codebook_B = commitment_B * keep_B, codebook_B * keep_B
      total = total + output
      losses = losses + jnp.stack([commitment_B.mean(), codebook_B.mean()])
      codes.append(codes_BxT)
    codes_BxTxK = jnp.stack(codes, -1)
    counts_KxV = code_counts(codes_BxTxK, self.codebook_size)
    return Quantized(
      total,
      codes_BxTxK,
      losses={"commitment": losses[0], "codebook": losses[1]},
      metrics={"perplexity": perplexity(counts_KxV)},
    )

  def _draw(self, batch_size, K):
    dropped = int(batch_size * self.dropout)
    if not dropped:
      return None
    drawn_B = jax.random.randint(self.make_rng("quantizer"), (batch_size,), 1, K + 1)
    return jnp.where(jnp.arange(batch_size) < dropped, drawn_B, K)

  def encode(self, z_BxTxD, *, num_codebooks=None) -> jax.Array:
    """Codes (B, T, num_codebooks) alone."""
    return self(z_BxTxD, num_codebooks=num_codebooks).codes_BxTxK

  def decode(self, codes_BxTxK) -> jax.Array:
    """Codes to latent (B, T, D); fewer codebooks than K give a coarser latent."""
    K = _checked(codes_BxTxK.shape[-1], self.num_codebooks)
    return sum(self.quantizers[k].decode(codes_BxTxK[..., k]) for k in range(K))


def _checked(wanted, available):
  wanted = available if wanted is None else wanted
  if not 1 <= wanted <= available:
    raise ValueError(f"num_codebooks must be 1 to {available}, got {wanted}")
  return wanted
