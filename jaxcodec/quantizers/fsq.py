"""Finite scalar quantisation, which rounds every channel to a few levels.

Source: Mentzer et al. 2023 (arXiv 2309.15505).
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcodec.nn.conv import Conv1d
from jaxcodec.quantizers.stack import CodebookStack, energies
from jaxcodec.types import Quantized

# Keeps the outermost values off the edges, where rounding could go either way.
_MARGIN = 1e-3


def bound(x: jax.Array, levels: Sequence[int]) -> jax.Array:
  """Squashes each channel so that rounding gives one of its L integers around zero.

  These are -L/2 to L/2 - 1 for even L and -(L-1)/2 to (L-1)/2 for odd L. Zero stays
  zero. Source: appendix A.1 of the paper.
  """
  L = np.asarray(levels)
  half = (L - 1) * (1 - _MARGIN) / 2
  offset = np.where(L % 2, 0.0, 0.5)
  shape = (1,) * (x.ndim - 1) + (-1,)
  shift, half, offset = (
    a.astype(np.float32).reshape(shape)
    for a in (np.arctanh(offset / half), half, offset)
  )
  return jnp.tanh(x + shift) * half - offset


class FSQ(CodebookStack):
  """K independent groups of channels, whose rounded values are the codes.

  The latent is normalised and projected to K * len(levels) channels, which begin with
  about unit variance: as small as an encoder's first latents are, all would be rounded
  to the same code, and tell the decoder nothing. The rounded channels of a group are
  the digits of its code. Groups that aren't used are zero, their middle. There is no
  codebook to learn and there are no losses.

  Attributes:
    width: channels of the latent, D.
    num_codebooks: K.
    levels: L of each channel of a group, at least 3; `codebook_size`, V, is their
      product.
    dropout, dropout_per: see `CodebookStack`.
  """

  width: int
  num_codebooks: int
  levels: Sequence[int] = (8, 8, 4, 4)
  dropout: float = 0.0
  dropout_per: str = "item"

  def __post_init__(self):
    if not self.levels or min(self.levels) < 3:
      raise ValueError(f"levels must be integers of at least 3, got {self.levels}")
    super().__post_init__()

  @property
  def codebook_size(self) -> int:
    """V, the number of codes of a group."""
    return math.prod(self.levels)

  def setup(self):
    channels = self.num_codebooks * len(self.levels)
    self.norm = nn.LayerNorm(dtype=jnp.float32)
    unit = nn.initializers.lecun_normal()
    self.project_in = Conv1d(
      channels, weight_norm=False, kernel_init=unit, use_bias=False
    )
    self.project_out = Conv1d(self.width, weight_norm=False)

  def __call__(self, z_BxTxD, *, num_codebooks=None, train=False) -> Quantized:
    """Quantises z_BxTxD, a group for a codebook; see `Quantizer`.

    Raises:
      ValueError: num_codebooks is not between 1 and K.
    """
    K = self.checked(num_codebooks)
    B, T = z_BxTxD.shape[:2]
    with jax.default_matmul_precision("highest"):
      bounded = self.project_in(self.norm(z_BxTxD.astype(jnp.float32)))
    every = bound(bounded.reshape(B, T, self.num_codebooks, -1), self.levels)
    bounded = every[:, :, :K]
    rounded = bounded + lax.stop_gradient(jnp.round(bounded) - bounded)
    keep_BxK = jnp.arange(K)[None] < self.used(B, K, train)[:, None]
    digits = jnp.round(bounded).astype(jnp.int32) + _row(self._half)
    codes_BxTxK = jnp.sum(digits * _row(self._basis), -1)
    kept = rounded * keep_BxK.reshape(B, 1, K, 1)
    metrics = self.metrics(codes_BxTxK) | self._energies(every, rounded)
    return Quantized(self._latent(kept), codes_BxTxK, {}, metrics)

  def _energies(self, bounded, rounded):
    """Returns `stack.energies` of the channels: what is unused counts as noise.

    The latent's own noise says nothing, as the projection back isn't trained to give
    the latent.

    Args:
      bounded: channels of all groups before rounding, (B, T, num_codebooks, d).
      rounded: those of the groups in use, (B, T, K, d).
    """
    K, half = rounded.shape[2], _row(self._half.astype(np.float32))
    bounded, rounded = (lax.stop_gradient(x) / half for x in (bounded, rounded))
    error_K = jnp.mean((rounded - bounded[:, :, :K]) ** 2, (0, 1, 3))
    unused = jnp.cumsum(jnp.mean(bounded**2, (0, 1, 3))[::-1])[::-1]
    unused_K = jnp.pad(unused, (0, 1))[1 : K + 1]  # of the groups after each
    return energies(bounded, (jnp.cumsum(error_K) + unused_K) / self.num_codebooks)

  def decode(self, codes_BxTxK) -> jax.Array:
    """Returns the latent (B, T, D); fewer groups than K give a coarser one."""
    self.checked(codes_BxTxK.shape[-1])
    levels = np.asarray(self.levels)
    digits = codes_BxTxK[..., None] // _row(self._basis) % _row(levels)
    return self._latent((digits - _row(self._half)).astype(jnp.float32))

  @property
  def _half(self):
    return np.asarray(self.levels) // 2

  @property
  def _basis(self):
    return np.cumprod([1, *self.levels[:-1]])

  def _latent(self, integers_BxTxKxd):
    """Scales integers to [-1, 1] and projects them; missing groups are zeros."""
    B, T, K = integers_BxTxKxd.shape[:3]
    missing = self.num_codebooks - K
    scaled = integers_BxTxKxd / _row(self._half.astype(np.float32))
    padded = jnp.pad(scaled, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return self.project_out(padded.reshape(B, T, -1))


def _row(values):
  return jnp.asarray(values).reshape(1, 1, 1, -1)
