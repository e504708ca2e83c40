"""Codec parts that compile fast, and discriminators for them."""

import flax.linen as nn

HOP = 10


class Encoder(nn.Module):
  hop = HOP
  output_dim = 4

  @nn.compact
  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    return nn.Dense(self.output_dim)(x_BxNxC.reshape(len(x_BxNxC), -1, self.hop))


class Decoder(nn.Module):
  hop = HOP

  @nn.compact
  def __call__(self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False):
    return nn.Dense(self.hop)(z_BxTxD).reshape(len(z_BxTxD), -1, 1)


class Discriminator(nn.Module):
  loss_weights = (1.0,)

  @nn.compact
  def __call__(self, x_BxN):
    h = nn.tanh(nn.Dense(4)(x_BxN))
    return [[h, nn.Dense(1)(h)]]
