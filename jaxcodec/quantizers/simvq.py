"""SimVQ's residual quantiser: codebooks that a learned linear layer moves as a whole.

Source: Zhu et al. 2024 (arXiv 2411.02038), Addressing Representation Collapse in Vector
Quantized Models with One Linear Layer; SimVQ1D in taming/modules/vqvae/quantize.py of
https://github.com/youngsheen/SimVQ.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import torch_uniform
from jaxcodec.quantizers.codebook import STATS, nearest, take
from jaxcodec.quantizers.residual import residual_codes
from jaxcodec.quantizers.stack import Level, ResidualStack


class MappedCodebook(nn.Module):
  """One codebook: a frozen random one (V, D), each code mapped by one linear layer.

  A batch moves the layer, and the layer moves all codes, also those that nothing chose.

  The frozen codebook is in the collection `vq_stats`, not among the parameters. Weight
  decay would shrink it there, gradient or not, and the optimiser would keep two moments
  of it. As a variable it is in checkpoints and in `params.safetensors`, is whole on
  every device, and is exported as it is beside the averaged layer. It isn't drawn again
  from a seed, as JAX may give other numbers for a seed in another version.
  """

  width: int
  codebook_size: int

  def setup(self):
    shape = (self.codebook_size, self.width)
    start = nn.initializers.normal(self.width**-0.5)
    self.frozen = self.variable(
      STATS, "frozen", lambda: start(self.make_rng("params"), shape)
    )
    self.linear = nn.Dense(
      self.width, precision=lax.Precision.HIGHEST, kernel_init=torch_uniform(self.width)
    )

  def __call__(self, codes: jax.Array | None = None) -> jax.Array:
    """Returns mapped codes (..., D), those of all codes (V, D) if None.

    The gradient reaches the layer alone. Choosing before mapping makes it a matrix
    product, where that of a lookup is a scatter, which a GPU adds in any order.
    """
    frozen = lax.stop_gradient(self.frozen.value)
    return self.linear(frozen if codes is None else take(frozen, codes))


class SimRVQ(ResidualStack):
  """Residual stack of codebooks that a linear layer each maps; the original has one.

  A level's code is the nearest of its mapped codebook to what the levels before it left
  over. As in `EmaRVQ`, no gradient passes from a level's codes to the next level, and
  one straight-through estimator spans the stack: every level's loss `commitment` pulls
  the latent, and its loss `codebook` alone trains its layer.

  The paper's beta, 0.25, is the weight of `commitment` over that of `codebook` in
  `codec_train.weights`; the recipes have it so.

  Attributes:
    width: channels of the latent, D, which is also that of the codes.
    num_codebooks: K.
    codebook_size: V.
    dropout, dropout_per: see `CodebookStack`.
    loss_reduction: see `ResidualStack`.
  """

  width: int
  num_codebooks: int
  codebook_size: int
  dropout: float = 0.0
  dropout_per: str = "item"
  loss_reduction: str = "sum"

  def setup(self):
    self.layers = [
      MappedCodebook(self.width, self.codebook_size) for _ in range(self.num_codebooks)
    ]

  def search_codes(self, z_BxTxD, K):
    books = [lax.stop_gradient(layer()) for layer in self.layers[:K]]
    return residual_codes(lax.stop_gradient(z_BxTxD), books)

  def level(self, k, residual_BxTxD, keep_B, train, found_BxT=None) -> Level:
    """Chooses among the mapped codes in training, and takes those found elsewhere."""
    layer, x_BxTxD = self.layers[k], lax.stop_gradient(residual_BxTxD)
    embed_VxD = lax.stop_gradient(layer())
    codes_BxT = nearest(x_BxTxD, embed_VxD) if train else found_BxT
    chosen = take(embed_VxD, codes_BxT)
    losses = {
      "commitment": jnp.mean((residual_BxTxD - chosen) ** 2, (1, 2)),
      "codebook": jnp.mean((layer(codes_BxT) - x_BxTxD) ** 2, (1, 2)),
    }
    return Level(chosen, codes_BxT, losses)

  def decode(self, codes_BxTxK) -> jax.Array:
    """Returns the latent (B, T, D); fewer codebooks than K give a coarser one."""
    K = self.checked(codes_BxTxK.shape[-1])
    return sum(take(self.layers[k](), codes_BxTxK[..., k]) for k in range(K))
