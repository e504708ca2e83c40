"""Base of the quantisers: how many codebooks are used, and what is logged of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.quantizers.codebook import code_counts, perplexity, usage

_PER = ("item", "batch")


class CodebookStack(nn.Module):
  """A `Quantizer` but for `__call__` and `decode`, which subclasses add.

  Subclasses have the attributes `num_codebooks`, `codebook_size`, `dropout` and
  `dropout_per`. Quantiser dropout draws the number of codebooks in use uniformly from 1
  to K, from the rng stream `quantizer`:

  - with `dropout_per` "item" for each of the first `dropout * B` items of a batch
    (dac/nn/quantize.py);
  - with "batch" for all items of a fraction `dropout` of the batches (in audiocraft's
    quantization/vq.py, of all batches).
  """

  def __post_init__(self):
    if not 0 <= self.dropout <= 1:
      raise ValueError(f"dropout must be between 0 and 1, got {self.dropout}")
    if self.dropout_per not in _PER:
      raise ValueError(f"dropout_per must be one of {_PER}, got {self.dropout_per!r}")
    super().__post_init__()

  def encode(self, z_BxTxD, *, num_codebooks=None) -> jax.Array:
    """Returns the codes (B, T, num_codebooks) alone; see `Quantizer`."""
    return self(z_BxTxD, num_codebooks=num_codebooks).codes_BxTxK

  def checked(self, wanted: int | None) -> int:
    """Returns how many codebooks to use: `wanted`, or all if None.

    Raises:
      ValueError: not between 1 and num_codebooks.
    """
    wanted = self.num_codebooks if wanted is None else wanted
    if not 1 <= wanted <= self.num_codebooks:
      raise ValueError(f"num_codebooks must be 1 to {self.num_codebooks}, got {wanted}")
    return wanted

  def used(self, batch_size: int, K: int, train: bool) -> jax.Array:
    """Returns how many of K codebooks each item uses, (B,) int32; K if not training."""
    all_B = jnp.full((batch_size,), K, jnp.int32)
    dropped = int(batch_size * self.dropout)
    if not train or not self.dropout or (self.dropout_per == "item" and not dropped):
      return all_B
    happens, number = jax.random.split(self.make_rng("quantizer"))
    if self.dropout_per == "item":
      drawn_B = jax.random.randint(number, (batch_size,), 1, K + 1)
      return jnp.where(jnp.arange(batch_size) < dropped, drawn_B, all_B)
    drawn = jax.random.randint(number, (1,), 1, K + 1)
    return jnp.where(jax.random.bernoulli(happens, self.dropout, (1,)), drawn, all_B)

  def metrics(self, codes_BxTxK: jax.Array) -> dict[str, jax.Array]:
    """Returns each codebook's perplexity and usage over the batch, each (K,)."""
    counts_KxV = code_counts(codes_BxTxK, self.codebook_size)
    return {"perplexity": perplexity(counts_KxV), "usage": usage(counts_KxV)}
