"""Long audio in overlapping segments of their own level, as EnCodec at 48 kHz has it.

Source: encodec/model.py and `_linear_overlap_add` of encodec/utils.py (encodec 0.1.1).
"""

import dataclasses
from collections.abc import Sequence

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
  ) -> list[tuple[jax.Array, jax.Array | None]]:
    """Segments in stacks of one length: all, or the whole ones and a short last one.

    The last has N - (S - 1) * stride samples, often few: in one stack with the others
    it would be computed as a whole one. See `_apart`.

    Returns:
      Of each stack its segments (B, S', L, C), and how many samples of each are valid,
      (B, S'), None if all are.
    """
    N = x_BxNxC.shape[1]
    starts = [s * self.stride for s in range(self.count(N))]
    left, length = N - starts[-1], self.length
    if len(starts) == 1:
      stacks = [(starts, min(length, N))]
    elif _apart(left, length):
      stacks = [(starts[:-1], length), (starts[-1:], left)]
    else:
      stacks = [(starts, length)]
    return [self._stack(x_BxNxC, length_B, *stack) for stack in stacks]

  def _stack(self, x_BxNxC, length_B, starts, length):
    B, N, _ = x_BxNxC.shape
    missing = max(0, starts[-1] + length - N)
    x_BxNxC = jnp.pad(x_BxNxC, ((0, 0), (0, missing), (0, 0)))
    x_BxSxLxC = jnp.stack([x_BxNxC[:, s : s + length] for s in starts], 1)
    if length_B is None:
      if not missing:
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


def _apart(last: int, length: int) -> bool:
  """Whether the last segment is so short that a stack of its own is faster.

  A long one is faster with the others, for an LSTM's steps are then shared.
  """
  return 2 * last <= length


def laid_out(stacks: Sequence[jax.Array], T: int) -> jax.Array:
  """The first T frames of all segments in a row; (B, S', F, ...) to (B, T, ...)."""
  rows = [x.reshape(x.shape[0], -1, *x.shape[3:]) for x in stacks]
  return jnp.concatenate(rows, 1)[:, :T]


def cut_frames(x_BxT: jax.Array, frames: int) -> list[jax.Array]:
  """The inverse of `laid_out`, in stacks like those of `Segments.cut`.

  Zeros (False) stand for what is missing of a last segment among the others.
  """
  B, T, *rest = x_BxT.shape
  before = (T - 1) // frames * frames
  if before and _apart(T - before, frames):
    parts = jnp.split(x_BxT, [before], 1)
  else:
    missing = ((0, 0), (0, before and -T % frames)) + ((0, 0),) * len(rest)
    parts = [jnp.pad(x_BxT, missing)]
  return [x.reshape(B, -1, min(frames, x.shape[1]), *rest) for x in parts]


def one_stack(stacks: Sequence[jax.Array]) -> jax.Array:
  """All segments in one stack (B, S, L, C), zeros after the shorter."""
  L = max(x.shape[2] for x in stacks)
  missing = [((0, 0), (0, 0), (0, L - x.shape[2]), (0, 0)) for x in stacks]
  return jnp.concatenate(list(map(jnp.pad, stacks, missing)), 1)


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
