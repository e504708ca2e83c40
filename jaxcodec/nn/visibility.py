"""Which frames of a sequence a frame attends to, as a rule and as an array.

The rule is kept as long as possible: attention by a platform's kernel takes it without
an array of T x T, which would be larger than everything else in a layer.
"""

from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Visible:
  """A rule for self-attention.

  Attributes:
    mask_BxT: bool, the valid frames; no frame sees the others.
    causal: whether a frame sees itself and those before it only.
    prefix: number of first frames that all frames see, if causal.
  """

  mask_BxT: jax.Array
  causal: bool = flax.struct.field(pytree_node=False, default=False)
  prefix: int = flax.struct.field(pytree_node=False, default=0)

  def dense(self) -> jax.Array:
    """Returns the rule as an array: (B, T, T), or (B, 1, T) if all see the same."""
    if not self.causal:
      return self.mask_BxT[:, None]
    at = jnp.arange(self.mask_BxT.shape[1])
    seen = (at[None, :] <= at[:, None]) | (at[None, :] < self.prefix)
    return self.mask_BxT[:, None] & seen[None]


def causal(mask_BxT: jax.Array, prefix: int = 0) -> Visible:
  """Each frame sees the valid frames up to itself, and those of the first `prefix`."""
  return Visible(mask_BxT, causal=True, prefix=prefix)


def bidirectional(mask_BxT: jax.Array) -> Visible:
  """Each frame sees all valid frames."""
  return Visible(mask_BxT)


def positions(mask_BxT: jax.Array) -> jax.Array:
  """Returns each valid frame's position among its row's valid ones, (B, T) int32."""
  return jnp.maximum(jnp.cumsum(mask_BxT, axis=1, dtype=jnp.int32) - 1, 0)


@flax.struct.dataclass
class Packed:
  """A rule for rows whose valid frames come first, as `pack` orders them.

  Attributes:
    length_B: int32 number of each row's valid frames.
    prefix_B: int32 number of those that all frames see, if causal.
    causal: see `Visible`.
    prefix: the most that `prefix_B` can be.
  """

  length_B: jax.Array
  prefix_B: jax.Array
  causal: bool = flax.struct.field(pytree_node=False, default=False)
  prefix: int = flax.struct.field(pytree_node=False, default=0)


class Order(NamedTuple):
  """Where the frames of a packed sequence come from, and where they go.

  Attributes:
    from_BxT: the frame that each place of the packed sequence holds.
    to_BxT: the place of each frame in the packed sequence.
  """

  from_BxT: jax.Array
  to_BxT: jax.Array


def pack(visible: Visible) -> tuple[Packed, Order]:
  """Orders each row's frames so that the valid ones come first, else as they were.

  Kernels know padding only behind a sequence; a text and the codes behind it have some
  in between. Attention is the same in any order of the frames that keeps what is
  before what.
  """
  mask_BxT = visible.mask_BxT
  from_BxT = jnp.argsort(~mask_BxT, axis=1, stable=True)
  order = Order(from_BxT, jnp.argsort(from_BxT, axis=1))
  count = lambda mask: mask.sum(1, dtype=jnp.int32)  # noqa: E731
  packed = Packed(
    length_B=count(mask_BxT),
    prefix_B=count(mask_BxT[:, : visible.prefix]),
    causal=visible.causal,
    prefix=visible.prefix,
  )
  return packed, order


def reorder(x_BxTx: jax.Array, from_BxT: jax.Array) -> jax.Array:
  """Takes each row's frames in another order."""

  def one(x, index_T):
    return x.at[index_T].get(unique_indices=True, mode="promise_in_bounds")

  return jax.vmap(one)(x_BxTx, from_BxT)
