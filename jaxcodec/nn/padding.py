"""EnCodec's padding before a convolution, which mirrors each item about its own end.

Source: encodec/modules/conv.py, `pad1d` and `pad_for_conv1d`.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import mask_frames

MODES = ("reflect", "constant")


def pad_frames(
  x_BxTxC: jax.Array,
  left: int,
  right: int,
  stride: int = 1,
  valid_B: jax.Array | None = None,
  mode: str = "reflect",
) -> jax.Array:
  """Pads frames to (B, left + T + right, C).

  Every item is first extended to a whole number of strides, so that the last window of
  the convolution is full, then by `right`. An item that is too short to mirror is
  extended with zeros first.

  Args:
    x_BxTxC: frames; T is a multiple of the stride.
    left, right: frames before and after.
    stride: of the convolution that follows.
    valid_B: valid frames of each item, all T if None. The others must be finite, and do
      not affect the convolution's first ceil(valid / stride) frames.
    mode: `reflect` or `constant` (zeros).
  """
  if mode == "constant":
    x_BxTxC = mask_frames(x_BxTxC, valid_B)
    return jnp.pad(x_BxTxC, ((0, 0), (left, right), (0, 0)))
  if valid_B is None:
    return _mirror_all(x_BxTxC, left, right)
  return _mirror_each(x_BxTxC, left, right, stride, valid_B)


def pad_on(
  before_BxLxC: jax.Array,
  x_BxTxC: jax.Array,
  stride: int,
  valid_B: jax.Array | None = None,
  mode: str = "reflect",
) -> jax.Array:
  """Pads the frames that follow others of a stream, to (B, L + T, C).

  Args:
    before_BxLxC: the frames before them, at least as many as the stride.
    x_BxTxC, stride, valid_B, mode: see `pad_frames`; an item that ends here is extended
      as there to a whole number of strides.
  """
  whole = jnp.concatenate([before_BxLxC, x_BxTxC], 1)
  if valid_B is None:
    return whole
  valid_B = before_BxLxC.shape[1] + valid_B
  if mode == "constant":
    return mask_frames(whole, valid_B)
  return _mirror_each(whole, 0, 0, stride, valid_B) if stride > 1 else whole


def _mirror_all(x_BxTxC, left, right):
  T = x_BxTxC.shape[1]
  x_BxTxC = _at_least(x_BxTxC, max(left, right) + 1)
  last = x_BxTxC.shape[1] - 1
  head = jnp.flip(x_BxTxC[:, 1 : left + 1], 1)
  tail = jnp.flip(x_BxTxC[:, last - right : last], 1)
  return jnp.concatenate([head, x_BxTxC, tail], 1)[:, : left + T + right]


def _mirror_each(x_BxTxC, left, right, stride, valid_B):
  T, longest_tail = x_BxTxC.shape[1], right + stride - 1
  head = _at_least(x_BxTxC[:, : left + 1], left + 1)
  head = jnp.flip(mask_frames(head, valid_B)[:, 1:], 1)
  whole = jnp.pad(x_BxTxC, ((0, 0), (0, longest_tail), (0, 0)))
  whole = jnp.concatenate([head, whole], 1)
  if longest_tail:
    tail = _tail(x_BxTxC, left, right, stride, valid_B)
    write = jax.vmap(lambda x, tail, at: lax.dynamic_update_slice(x, tail, (at, 0)))
    whole = write(whole, tail, left + valid_B)
  return whole[:, : left + T + right]


def _tail(x_BxTxC, left, right, stride, valid_B):
  """Returns the right + stride - 1 frames that follow each item's valid ones."""
  right_B = right + -valid_B % stride
  last_B = jnp.maximum(valid_B - 1, jnp.maximum(left, right_B))
  at = valid_B[:, None] + jnp.arange(right + stride - 1)[None]
  source = jnp.where(at <= last_B[:, None], at, 2 * last_B[:, None] - at)
  inside = (source >= 0) & (source < valid_B[:, None])
  source = jnp.clip(source, 0, x_BxTxC.shape[1] - 1)
  tail = jnp.take_along_axis(x_BxTxC, source[..., None], 1)
  return jnp.where(inside[..., None], tail, 0)


def _at_least(x_BxTxC, length):
  missing = max(0, length - x_BxTxC.shape[1])
  return jnp.pad(x_BxTxC, ((0, 0), (0, missing), (0, 0)))
