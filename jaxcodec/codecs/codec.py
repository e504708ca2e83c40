"""A codec is any encoder, quantiser and decoder of one hop and one latent width."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.types import Quantized, Tokens, TokenSpec


class Codec(nn.Module):
  """Encoder x quantiser x decoder.

  Attributes:
    encoder: maps (x_BxNxC, valid_B, train) to z_BxTxD with `hop` samples a frame, N a
      multiple of it; `valid_B` counts samples, and what lies beyond has no influence
      on the first ceil(valid / hop) frames.
    quantizer: maps (z_BxTxD, num_codebooks, train) to `Quantized`; `encode` and
      `decode` are its halves.
    decoder: maps (z_BxTxD, valid_B, num_codebooks, train) to (B, T * hop, C); `valid_B`
      counts frames, and those beyond have no influence on the samples of the others.
    sample_rate: Hz.
  """

  encoder: nn.Module
  quantizer: nn.Module
  decoder: nn.Module
  sample_rate: int

  @property
  def spec(self) -> TokenSpec:
    return TokenSpec(
      num_codebooks=self.quantizer.num_codebooks,
      codebook_size=self.quantizer.codebook_size,
      hop=self.encoder.hop,
      sample_rate=self.sample_rate,
    )

  @property
  def num_channels(self) -> int:
    return 1

  def __call__(
    self, x_BxNxC, *, num_codebooks=None, train=False
  ) -> tuple[jax.Array, Quantized]:
    """Audio to its reconstruction (B, N, C) and what the quantiser said."""
    N = x_BxNxC.shape[1]
    valid_B = None
    if N % self.encoder.hop:
      valid_B = jnp.full(x_BxNxC.shape[:1], N, jnp.int32)
    z_BxTxD = self.encoder(self._padded(x_BxNxC), valid_B, train=train)
    quantized = self.quantizer(z_BxTxD, num_codebooks=num_codebooks, train=train)
    y_BxNxC = self.decoder(quantized.z_BxTxD, num_codebooks=num_codebooks, train=train)
    return y_BxNxC[:, :N], quantized

  def encode(self, x_BxNxC, length_B=None, *, num_codebooks=None) -> Tokens:
    """Audio to codes.

    Args:
      x_BxNxC: float audio in [-1, 1] at `sample_rate`, any N.
      length_B: valid samples of each item, N if None. What lies beyond has no
        influence: the codes are those of the item alone.
      num_codebooks: the first so many codebooks only.

    Returns:
      Tokens with T = ceil(N / hop) frames, ceil(length / hop) of them valid.
    """
    hop = self.encoder.hop
    if length_B is None:
      length_B = jnp.full(x_BxNxC.shape[:1], x_BxNxC.shape[1], jnp.int32)
    at_N = jnp.arange(x_BxNxC.shape[1]).reshape(1, -1, 1)
    x_BxNxC = jnp.where(at_N < length_B.reshape(-1, 1, 1), x_BxNxC, 0)
    x_BxNxC = self._padded(x_BxNxC)
    frames_B = -(-length_B // hop)
    z_BxTxD = self.encoder(x_BxNxC, length_B)
    codes_BxTxK = self.quantizer.encode(z_BxTxD, num_codebooks=num_codebooks)
    mask_BxT = jnp.arange(z_BxTxD.shape[1])[None] < frames_B[:, None]
    return Tokens(jnp.where(mask_BxT[..., None], codes_BxTxK, 0), mask_BxT)

  def decode(self, tokens: Tokens) -> jax.Array:
    """Codes to audio (B, T * hop, C); silence on frames that are not valid."""
    frames_B = tokens.mask_BxT.sum(-1)
    z_BxTxD = self.quantizer.decode(tokens.codes_BxTxK)
    num_codebooks = tokens.codes_BxTxK.shape[-1]
    y_BxNxC = self.decoder(z_BxTxD, frames_B, num_codebooks=num_codebooks)
    mask_BxN = jnp.repeat(tokens.mask_BxT, self.decoder.hop, axis=1)
    return jnp.where(mask_BxN[:, : y_BxNxC.shape[1], None], y_BxNxC, 0)

  def _padded(self, x_BxNxC):
    """Zeros at the end, up to a whole number of frames."""
    missing = -x_BxNxC.shape[1] % self.encoder.hop
    return jnp.pad(x_BxNxC, ((0, 0), (0, missing), (0, 0)))
