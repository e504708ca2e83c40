"""Long audio in overlapping segments of their own level, as EnCodec at 48 kHz has it.

Source: encodec/model.py and `_linear_overlap_add` of encodec/utils.py (encodec 0.1.1).
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxcodec.nn.conv import overlap_add

_EPSILON = 1e-8


@dataclasses.dataclass(frozen=True)
class Segments:
  """Segments of `length` samples that start every `stride` samples.

  Raises:
    ValueError: segments that would leave gaps between them.
  """

  length: int
  stride: int

  def __post_init__(self):
    if not 1 <= self.stride <= self.length:
      raise ValueError(
        f"segments of {self.length} samples must start every 1 to {self.length}"
        f" samples, got {self.stride}"
      )

  @classmethod
  def in_seconds(
    cls, seconds: float, overlap: float, *, sample_rate: int
  ) -> "Segments":
    """Segments of so many seconds, of which the share `overlap` is the next one's."""
    length = int(seconds * sample_rate)
    return cls(length, max(1, int((1 - overlap) * length)))

  def count(self, num_samples: int) -> int:
    """Segments that so many samples are cut into."""
    return max(1, -(-num_samples // self.stride))

  def cut(
    self, x_BxNxC: jax.Array, length_B: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array | None]:
    """Segments (B, S, L, C), and how many samples of each are valid, (B, S).

    A single segment may have L below `length`; all of it is valid if `length_B` is
    None, which is then said by None.
    """
    B, N, _ = x_BxNxC.shape
    S, length = self.count(N), min(self.length, N)
    missing = max(0, (S - 1) * self.stride + length - N)
    x_BxNxC = jnp.pad(x_BxNxC, ((0, 0), (0, missing), (0, 0)))
    starts = [s * self.stride for s in range(S)]
    x_BxSxLxC = jnp.stack([x_BxNxC[:, s : s + length] for s in starts], 1)
    if length_B is None:
      if S == 1:
        return x_BxSxLxC, None
      length_B = jnp.full(B, N, jnp.int32)
    valid_BxS = length_B[:, None] - jnp.array(starts)[None]
    return x_BxSxLxC, jnp.clip(valid_BxS, 0, length)

  def join(self, y_BxSxLxC: jax.Array, valid_BxS: jax.Array) -> jax.Array:
    """The weighted mean of segments where they overlap; silence where there is none.

    The weight is a triangle over the item's first segment, most in its middle.
    Returns (B, (S - 1) * stride + L, C).
    """
    S, L = y_BxSxLxC.shape[1:3]
    at_L = jnp.arange(L).reshape(1, 1, L)
    inside = (at_L < valid_BxS[..., None])[..., None]
    y_BxSxLxC = jnp.where(inside, y_BxSxLxC, 0)
    if S == 1:
      return y_BxSxLxC[:, 0]
    weight = jnp.minimum(at_L + 1, valid_BxS[:, :1, None] - at_L).astype(jnp.float32)
    weight = jnp.where(inside, weight[..., None], 0)
    total, weights = self._added(y_BxSxLxC * weight), self._added(weight)
    return jnp.where(weights > 0, total / jnp.maximum(weights, 1), 0)

  def _added(self, parts_BxSxLxC):
    S, L = parts_BxSxLxC.shape[1:3]
    missing = -L % self.stride
    parts = jnp.pad(parts_BxSxLxC, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return overlap_add(parts, self.stride)[:, : (S - 1) * self.stride + L]


def laid_out(x_BxSxF: jax.Array, T: int) -> jax.Array:
  """The first T frames of segments one after another; (B, S, F, ...) to (B, T, ...)."""
  return x_BxSxF.reshape(x_BxSxF.shape[0], -1, *x_BxSxF.shape[3:])[:, :T]


def cut_frames(x_BxT: jax.Array, frames: int) -> jax.Array:
  """The inverse of `laid_out`, with zeros (False) for what is missing at the end."""
  B, T, *rest = x_BxT.shape
  S = -(-T // frames)
  padding = ((0, 0), (0, S * frames - T)) + ((0, 0),) * len(rest)
  return jnp.pad(x_BxT, padding).reshape(B, S, frames, *rest)


def normalized(
  x_BxSxLxC: jax.Array, valid_BxS: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
  """Segments by their level, the RMS of their mono mix, and that level (B, S)."""
  L = x_BxSxLxC.shape[2]
  mono_BxSxL, count = x_BxSxLxC.mean(-1), L
  if valid_BxS is not None:
    inside = jnp.arange(L)[None, None] < valid_BxS[..., None]
    mono_BxSxL, count = jnp.where(inside, mono_BxSxL, 0), jnp.maximum(valid_BxS, 1)
  gain_BxS = jnp.sqrt((mono_BxSxL * mono_BxSxL).sum(-1) / count) + _EPSILON
  return x_BxSxLxC / gain_BxS[..., None, None], gain_BxS
