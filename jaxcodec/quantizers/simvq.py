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
from jaxcodec.quantizers.stack import CodebookStack
from jaxcodec.types import Quantized


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


class SimRVQ(CodebookStack):
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
  """

  width: int
  num_codebooks: int
  codebook_size: int
  dropout: float = 0.0
  dropout_per: str = "item"

  def setup(self):
    self.layers = [
      MappedCodebook(self.width, self.codebook_size) for _ in range(self.num_codebooks)
    ]

  def __call__(self, z_BxTxD, *, num_codebooks=None, train=False) -> Quantized:
    """Quantises z_BxTxD; see `Quantizer`.

    The losses, mean squared distances, are sums over the levels that an item uses.

    Raises:
      ValueError: num_codebooks is not between 1 and K.
    """
    K = self.checked(num_codebooks)
    z_BxTxD = residual = z_BxTxD.astype(jnp.float32)
    used_B = self.used(z_BxTxD.shape[0], K, train)
    total, commitment, codebook, codes = 0.0, 0.0, 0.0, []
    for k, layer in enumerate(self.layers[:K]):
      keep_Bx1x1 = (k < used_B).astype(jnp.float32).reshape(-1, 1, 1)
      embed_VxD = lax.stop_gradient(layer())
      codes.append(nearest(lax.stop_gradient(residual), embed_VxD))
      chosen = take(embed_VxD, codes[-1])
      moved = layer(codes[-1]) - lax.stop_gradient(residual)
      residual = residual - chosen
      commitment += jnp.mean(residual**2 * keep_Bx1x1)
      codebook += jnp.mean(moved**2 * keep_Bx1x1)
      total = total + chosen * keep_Bx1x1
    codes_BxTxK = jnp.stack(codes, -1)
    # Adds zero, whose gradient is one: `decode` of the codes gives the same bits.
    return Quantized(
      total + (z_BxTxD - lax.stop_gradient(z_BxTxD)),
      codes_BxTxK,
      losses={"commitment": commitment, "codebook": codebook},
      metrics=self.metrics(codes_BxTxK),
    )

  def decode(self, codes_BxTxK) -> jax.Array:
    """Returns the latent (B, T, D); fewer codebooks than K give a coarser one."""
    K = self.checked(codes_BxTxK.shape[-1])
    return sum(take(self.layers[k](), codes_BxTxK[..., k]) for k in range(K))
