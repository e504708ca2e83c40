"""Bases of the quantisers: how many codebooks are used, and the residual stack."""

from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.quantizers.codebook import snr_db, use_of_codes
from jaxcodec.types import Quantized

_PER = ("item", "batch")
_REDUCTIONS = ("sum", "mean")


class CodebookStack(nn.Module):
  """A `Quantizer` but for `__call__` and `decode`, which subclasses add.

  Subclasses have the attributes `num_codebooks`, `codebook_size`, `dropout` and
  `dropout_per`. Quantiser dropout draws the number of codebooks in use uniformly from 1
  to K, from the rng stream `quantizer`:

  - with `dropout_per` "item" for each of the first `dropout * B` items of a batch
    (dac/nn/quantize.py, which rounds down; here a part of an item is one item of as
    large a part of the batches);
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
    if not train or not self.dropout:
      return all_B
    happens, number = jax.random.split(self.make_rng("quantizer"))
    if self.dropout_per == "item":
      dropped = jnp.floor(batch_size * self.dropout + jax.random.uniform(happens))
      drawn_B = jax.random.randint(number, (batch_size,), 1, K + 1)
      return jnp.where(jnp.arange(batch_size) < dropped, drawn_B, all_B)
    drawn = jax.random.randint(number, (1,), 1, K + 1)
    return jnp.where(jax.random.bernoulli(happens, self.dropout, (1,)), drawn, all_B)

  def metrics(self, codes_BxTxK: jax.Array) -> dict[str, jax.Array]:
    """Returns each codebook's perplexity and usage over the batch, each (K,)."""
    return use_of_codes(codes_BxTxK, self.codebook_size)


def energies(z_BxTxD: jax.Array, left_K: jax.Array) -> dict[str, jax.Array]:
  """Returns the metrics of what each level leaves over of a latent.

  Args:
    z_BxTxD: the latent.
    left_K: mean square of what remains of it after each level, of all items.

  Returns:
    `residual_energy` (K,), which is `left_K`, and `snr_db` (K,), dB: the latent's mean
    square over it. Of a batch, so that silent frames count as little as they sound.
  """
  energy = jnp.mean(lax.stop_gradient(z_BxTxD) ** 2)
  return {"residual_energy": left_K, "snr_db": snr_db(energy, left_K)}


class Level(NamedTuple):
  """What one level of a residual stack gives.

  Attributes:
    output_BxTxD: its part of the quantised latent, which the next level doesn't see.
    codes_BxT: its codes, int32.
    losses: mean squared errors of each item, (B,), by the names of `Quantized.losses`.
  """

  output_BxTxD: jax.Array
  codes_BxT: jax.Array
  losses: dict[str, jax.Array]


class ResidualStack(CodebookStack):
  """A stack whose levels each quantise what the levels before them left over.

  Subclasses add `level` and `decode`, and have the attribute `loss_reduction`: an
  item's loss is the "sum" or the "mean" over the levels that it uses. DAC sums, and
  audiocraft takes the mean, so that the same weight in `codec_train.weights` pulls
  their encoders up to K times as hard. Systems that are compared need the same one.

  Attributes:
    spans_levels: whether the levels' outputs carry no gradient, and one
      straight-through estimator spans the stack; if not, each level has its own.
  """

  spans_levels: ClassVar[bool] = True

  def __post_init__(self):
    if self.loss_reduction not in _REDUCTIONS:
      raise ValueError(
        f"loss_reduction must be one of {_REDUCTIONS}, got {self.loss_reduction!r}"
      )
    super().__post_init__()

  def __call__(self, z_BxTxD, *, num_codebooks=None, train=False) -> Quantized:
    """Quantises z_BxTxD; see `Quantizer`.

    Raises:
      ValueError: num_codebooks is not between 1 and K.
    """
    K = self.checked(num_codebooks)
    return self.quantize(z_BxTxD, self.used(z_BxTxD.shape[0], K, train), K, train)

  def quantize(
    self, z_BxTxD: jax.Array, used_B: jax.Array, K: int, train: bool
  ) -> Quantized:
    """Quantises latents by the first K levels, of which item b uses `used_B[b]`.

    An item may use none: its quantised latent is then 0, and its losses are too.
    """
    z_BxTxD = residual = z_BxTxD.astype(jnp.float32)
    total, codes, losses, left = 0.0, [], {}, []
    found_BxTxK = None if train else self.search_codes(z_BxTxD, K)
    for k in range(K):
      keep_B = (k < used_B).astype(jnp.float32)
      found = {} if found_BxTxK is None else {"found_BxT": found_BxTxK[..., k]}
      level = self.level(k, residual, keep_B, train, **found)
      residual = residual - level.output_BxTxD
      total = total + level.output_BxTxD * keep_B.reshape(-1, 1, 1)
      codes.append(level.codes_BxT)
      left.append(jnp.mean(lax.stop_gradient(residual) ** 2))
      for name, loss_B in level.losses.items():
        losses[name] = losses.get(name, 0.0) + loss_B * keep_B
    if self.spans_levels:
      # Adds zero, whose gradient is one: `decode` of the codes gives the same bits.
      passes = (used_B > 0).reshape(-1, 1, 1)
      total = total + passes * (z_BxTxD - lax.stop_gradient(z_BxTxD))
    if self.loss_reduction == "mean":
      levels_B = jnp.maximum(used_B, 1)
      losses = {name: loss_B / levels_B for name, loss_B in losses.items()}
    codes_BxTxK = jnp.stack(codes, -1)
    losses = {name: loss_B.mean() for name, loss_B in losses.items()}
    metrics = self.metrics(codes_BxTxK) | energies(z_BxTxD, jnp.stack(left))
    return Quantized(total, codes_BxTxK, losses, metrics)

  def search_codes(self, z_BxTxD: jax.Array, K: int) -> jax.Array | None:
    """Returns codes (B, T, K) that are better than each level's own choice, or None.

    A quantiser that has any takes them in `level` as `found_BxT`.
    """
    return None

  def level(
    self, k: int, residual_BxTxD: jax.Array, keep_B: jax.Array, train: bool
  ) -> Level:
    """Quantises a residual by codebook k; `keep_B` is 1 for items that use it, or 0."""
    raise NotImplementedError
