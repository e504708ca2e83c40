"""The interface that a codec, its training and its tokens ask of a quantiser."""

from typing import Protocol

import jax

from jaxcodec.types import Quantized


class Quantizer(Protocol):
  """A Linen module between an encoder and a decoder; B x T latents of width D.

  `build/codec.py` registers it by name and gives it `width`, D; its other attributes
  are the fields of `config.codec.quantizer`. `CodebookStack` has all but `__call__`
  and `decode`.

  Variables that the optimiser trains are parameters. A codebook that it must not touch,
  such as a running mean or a frozen one, is in the collection `vq_stats`
  (`codebook.STATS`), which training makes mutable and keeps beside the parameters in
  checkpoints. Random numbers of training come from the stream `quantizer`.

  A quantiser whose codebooks begin from data (`ema.Codebook`) has a method
  `start(z_BxTxD)`, which sets those that are not `inited`. It runs once, before
  training and outside of its steps.

  One with an attribute `semantic_dim` is also called with `semantic_BxTxS` in training,
  features of the frames of that many channels, and gives the loss `distill` then; see
  `SemanticRVQ`.

  Attributes:
    num_codebooks: K, codes a frame.
    codebook_size: V, the same for all codebooks; codes are 0 to V - 1. May be a
      property of other attributes.
  """

  num_codebooks: int
  codebook_size: int

  def __call__(
    self,
    z_BxTxD: jax.Array,
    *,
    num_codebooks: int | None = None,
    train: bool = False,
  ) -> Quantized:
    """Quantises latents with the first `num_codebooks` codebooks, all if None.

    The latent that it gives, (B, T, D) float32, equals `decode` of its codes, int32
    (B, T, num_codebooks), and lets gradients through to `z_BxTxD`. Losses are scalars
    named `commitment` or `codebook`; a quantiser may have none of them. Metrics are of
    the batch, each (num_codebooks,) or a scalar: at least `perplexity` and `usage`,
    and where it means something `snr_db` of the latent by the first codebooks up to
    each (see `stack.energies`).

    Raises:
      ValueError: num_codebooks is not between 1 and K.
    """

  def encode(
    self, z_BxTxD: jax.Array, *, num_codebooks: int | None = None
  ) -> jax.Array:
    """Returns the codes of a call that doesn't train, (B, T, num_codebooks) int32."""

  def decode(self, codes_BxTxK: jax.Array) -> jax.Array:
    """Returns the latent (B, T, D) float32 of codes, K of them or the first few.

    A code out of range takes some code's vector and raises nothing.
    """
