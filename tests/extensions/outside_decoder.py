"""A decoder from outside: a frame's samples are a linear map of its latent."""

import flax.linen as nn

from jaxcodec.build.codec import DECODERS


class LinearDecoder(nn.Module):
  """Decodes each frame by itself; see `Codec.decoder`.

  Attributes:
    hop: samples a frame.
    channels: of the audio.
  """

  hop: int
  channels: int = 1

  @nn.compact
  def __call__(self, z_BxTxD, valid_B=None, num_codebooks=None, train=False):
    B, T = z_BxTxD.shape[:2]
    samples = nn.Dense(self.hop * self.channels)(z_BxTxD)
    return samples.reshape(B, T * self.hop, self.channels)


DECODERS.register("linear", LinearDecoder)
