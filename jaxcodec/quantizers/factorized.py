"""DAC's residual quantiser: projected, L2-normalised codebooks trained by gradient."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import Conv1d
from jaxcodec.nn.dsp import matmul
from jaxcodec.nn.ops import first_argmax
from jaxcodec.nn.weight_norm import fold_weight_norm
from jaxcodec.quantizers.codebook import l2_normalize, look_up, take
from jaxcodec.quantizers.residual import in_chunks
from jaxcodec.quantizers.stack import Level, ResidualStack


class FactorizedVQ(nn.Module):
  """One codebook in a low-dimensional projection of the latent.

  The code is the nearest one between normalised vectors; the output and both losses
  take the code as it is, not normalised. Source: dac/nn/quantize.py, VectorQuantize.
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
    """Returns (output_BxTxD, codes_BxT, commitment_B, codebook_B) of a latent."""
    encoded = self.in_proj(z_BxTxD)
    codes_BxT = _look_up(encoded, self.codebook)
    chosen = look_up(self.codebook, codes_BxT)
    commitment_B = jnp.mean((encoded - lax.stop_gradient(chosen)) ** 2, (1, 2))
    codebook_B = jnp.mean((chosen - lax.stop_gradient(encoded)) ** 2, (1, 2))
    straight_through = encoded + lax.stop_gradient(chosen - encoded)
    return self.out_proj(straight_through), codes_BxT, commitment_B, codebook_B

  def projections(self):
    """Returns kernel and bias of the projection down and of the one up, as matrices."""
    down, up = (
      fold_weight_norm(layer.variables["params"])
      for layer in (self.in_proj, self.out_proj)
    )
    return down["kernel"][0], down["bias"], up["kernel"][0], up["bias"]


class FactorizedRVQ(ResidualStack):
  """Residual stack of factorised codebooks, each with its straight-through estimator.

  Source: dac/nn/quantize.py, ResidualVectorQuantize.

  Attributes:
    width: channels of the latent, D.
    num_codebooks: K.
    codebook_size: V.
    codebook_dim: width of the codes.
    dropout, dropout_per: see `CodebookStack`.
    loss_reduction: see `ResidualStack`.
  """

  width: int
  num_codebooks: int
  codebook_size: int
  codebook_dim: int = 8
  dropout: float = 0.0
  dropout_per: str = "item"
  loss_reduction: str = "sum"
  spans_levels: ClassVar[bool] = False

  def setup(self):
    self.quantizers = [
      FactorizedVQ(self.width, self.codebook_size, self.codebook_dim)
      for _ in range(self.num_codebooks)
    ]

  def level(self, k, residual_BxTxD, keep_B, train) -> Level:
    """Projects, chooses and projects back, as all levels do in training or not."""
    with jax.default_matmul_precision("highest"):
      output, codes_BxT, commitment_B, codebook_B = self.quantizers[k](residual_BxTxD)
    losses = {"commitment": commitment_B, "codebook": codebook_B}
    return Level(output, codes_BxT, losses)

  def encode(self, z_BxTxD, *, num_codebooks=None) -> jax.Array:
    """Returns the codes (B, T, num_codebooks) that a call gives.

    All levels' projections are computed in one product. A code's output, projected to
    the levels after it, is a row of a table, so that no residual of width D is formed.
    """
    K, d = self.checked(num_codebooks), self.codebook_dim
    levels = self.quantizers[:K]
    down, bias, up, up_bias = zip(*(q.projections() for q in levels), strict=True)
    down = jnp.concatenate(down, -1)
    between = matmul(jnp.concatenate(up), down)  # from each level to each
    offset = matmul(jnp.stack(up_bias), down)
    left = matmul(z_BxTxD.astype(jnp.float32), down) + _row(jnp.concatenate(bias))
    books, tables = [quantizer.codebook for quantizer in levels], []
    for k, book in enumerate(books):
      next_ = (k + 1) * d
      table = matmul(book, between[k * d : next_, next_:])
      tables.append(table + offset[k : k + 1, next_:])

    def of_chunk(left):
      codes = []
      for book, table in zip(books, tables, strict=True):
        codes.append(_look_up(left[..., :d], book))
        left = left[..., d:] - take(table, codes[-1])
      return jnp.stack(codes, -1)

    return in_chunks(of_chunk, left, self.codebook_size)

  def decode(self, codes_BxTxK) -> jax.Array:
    """Returns the latent (B, T, D); fewer codebooks than K give a coarser one."""
    levels = self.quantizers[: self.checked(codes_BxTxK.shape[-1])]
    _, _, up, bias = zip(*(q.projections() for q in levels), strict=True)
    chosen = [take(q.codebook, codes_BxTxK[..., k]) for k, q in enumerate(levels)]
    return matmul(jnp.concatenate(chosen, -1), jnp.concatenate(up)) + _row(sum(bias))


def _look_up(encoded, codebook_VxD):
  """Returns the codes (B, T) of projected latents (B, T, codebook_dim)."""
  scores = jnp.einsum(
    "btd,vd->btv",
    l2_normalize(encoded),
    l2_normalize(codebook_VxD),
    precision=lax.Precision.HIGHEST,
  )
  return first_argmax(lax.stop_gradient(scores))


def _row(bias):
  return bias.reshape(1, 1, -1)
