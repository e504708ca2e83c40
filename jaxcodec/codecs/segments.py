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
    ValueError: the segments would leave gaps between them.
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
    """Returns segments of so many seconds; a fraction `overlap` is also in the next."""
    length = int(seconds * sample_rate)
    return cls(length, max(1, int((1 - overlap) * length)))

  def count(self, num_samples: int) -> int:
    """Returns how many segments so many samples are cut into."""
    return max(1, -(-num_samples // self.stride))

  def cut(
    self, x_BxNxC: jax.Array, length_B: jax.Array | None = None
  ) -> list[tuple[jax.Array, jax.Array | None]]:
    """Cuts audio into stacks of segments of one length each.

    There is one stack, or a second for a short last segment, which has
    N - (S - 1) * stride samples and would be computed at full length with the others.

    Args:
      x_BxNxC: audio.
      length_B: valid samples of each item, N if None.

    Returns:
      For each stack its segments (B, S', L, C), and how many samples of each are valid,
      (B, S'), or None if all are.
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
    """Averages segments where they overlap, (B, (S - 1) * stride + L, C).

    The weight is a triangle over the length of the item's first segment, largest in the
    middle. There is silence where no segment is valid.
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
  """Whether the last segment is short enough to be faster in a stack of its own.

  A longer one is faster with the others, with which it shares an LSTM's steps.
  """
  return 2 * last <= length


def join_frames(stacks: Sequence[jax.Array], T: int) -> jax.Array:
  """Puts segments' frames in a row and keeps T; (B, S', F, ...) to (B, T, ...)."""
  rows = [x.reshape(x.shape[0], -1, *x.shape[3:]) for x in stacks]
  return jnp.concatenate(rows, 1)[:, :T]


def cut_frames(x_BxT: jax.Array, frames: int) -> list[jax.Array]:
  """Undoes `join_frames`, into stacks like those of `Segments.cut`.

  Zeros (False) fill up a last segment that is in a stack with the others.
  """
  B, T, *rest = x_BxT.shape
  before = (T - 1) // frames * frames
  if before and _apart(T - before, frames):
    parts = jnp.split(x_BxT, [before], 1)
  else:
    missing = ((0, 0), (0, before and -T % frames)) + ((0, 0),) * len(rest)
    parts = [jnp.pad(x_BxT, missing)]
  return [x.reshape(B, -1, min(frames, x.shape[1]), *rest) for x in parts]


def merge_stacks(stacks: Sequence[jax.Array]) -> jax.Array:
  """Merges stacks to one (B, S, L, C), with zeros after the shorter segments."""
  L = max(x.shape[2] for x in stacks)
  missing = [((0, 0), (0, 0), (0, L - x.shape[2]), (0, 0)) for x in stacks]
  return jnp.concatenate(list(map(jnp.pad, stacks, missing)), 1)


def normalize_segments(
  x_BxSxLxC: jax.Array, valid_BxS: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
  """Divides segments by the RMS of their mono mix, and returns that, (B, S), too."""
  L = x_BxSxLxC.shape[2]
  mono_BxSxL, count = x_BxSxLxC.mean(-1), L
  if valid_BxS is not None:
    inside = jnp.arange(L)[None, None] < valid_BxS[..., None]
    mono_BxSxL, count = jnp.where(inside, mono_BxSxL, 0), jnp.maximum(valid_BxS, 1)
  gain_BxS = jnp.sqrt((mono_BxSxL * mono_BxSxL).sum(-1) / count) + _EPSILON
  return x_BxSxLxC / gain_BxS[..., None, None], gain_BxS
