"""A quantiser from outside: the signs of a few channels are the bits of a code."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxcodec.build.codec import QUANTIZERS
from jaxcodec.quantizers.stack import CodebookStack
from jaxcodec.types import Quantized


class SignQuantizer(CodebookStack):
  """K codebooks of 2 ** bits codes; see `CodebookStack`.

  Attributes:
    width: channels of the latent, D.
    num_codebooks: K.
    bits: of a code.
  """

  width: int
  num_codebooks: int
  bits: int = 5
  dropout: float = 0.0
  dropout_per: str = "item"

  @property
  def codebook_size(self):
    return 2**self.bits

  def setup(self):
    self.project_in = nn.Dense(self.num_codebooks * self.bits)
    self.project_out = nn.Dense(self.width)

  def __call__(self, z_BxTxD, *, num_codebooks=None, train=False):
    K = self.checked(num_codebooks)
    x = jnp.tanh(self.project_in(z_BxTxD))
    signs = x + lax.stop_gradient(jnp.where(x > 0, 1.0, -1.0) - x)
    bits = (x > 0).reshape(*x.shape[:2], self.num_codebooks, self.bits)[:, :, :K]
    place = (2 ** jnp.arange(self.bits)).reshape(1, 1, 1, -1)
    codes_BxTxK = (bits * place).sum(-1).astype(jnp.int32)
    used = signs.at[:, :, K * self.bits :].set(0)
    z_BxTxD = self.project_out(used)
    return Quantized(z_BxTxD, codes_BxTxK, {}, self.metrics(codes_BxTxK))

  def decode(self, codes_BxTxK):
    shift = jnp.arange(self.bits).reshape(1, 1, 1, -1)
    signs = 2.0 * ((codes_BxTxK[..., None] >> shift) & 1) - 1
    signs = signs.reshape(*codes_BxTxK.shape[:2], -1)
    missing = self.num_codebooks * self.bits - signs.shape[-1]
    return self.project_out(jnp.pad(signs, ((0, 0), (0, 0), (0, missing))))


QUANTIZERS.register("sign", SignQuantizer)
