"""Pre-norm transformer with rotary positions, whose layers are stacked by a scan.

`kv_cache` runs it on a growing sequence, a few frames at a time. Its attention is in
`self_attention`, what frames see in `visibility`; their names are also found here.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import ops, partition
from jaxcodec.nn.remat import remat
from jaxcodec.nn.self_attention import arrange, attend, attend_all, rope_table, rotate
from jaxcodec.nn.visibility import Visible, bidirectional, causal, positions, reorder

__all__ = [
  "Block",
  "RMSNorm",
  "Slots",
  "Transformer",
  "Visible",
  "attend",
  "bidirectional",
  "causal",
  "positions",
  "rope_table",
  "rotate",
]


def _attend_cached(q_BxHxTxD, k_BxHxTxD, v_BxHxTxD, visible_BxTxS, cache):
  """Writes the new keys and values to a cache, and attends to what is in it then.

  Args:
    q_BxHxTxD, k_BxHxTxD, v_BxHxTxD: of the new frames.
    visible_BxTxS: which of the first S slots they see.
    cache: see `Block`.

  Returns:
    The attention's output (B, H, T, D), and the new keys and values.
  """
  q = ops.join_heads(q_BxHxTxD)
  kept = _written(k_BxHxTxD, v_BxHxTxD, cache)
  k, v = (x[..., : visible_BxTxS.shape[2], :] for x in kept)
  if q.ndim == 3:
    visible_BxTxS = jnp.repeat(visible_BxTxS, q_BxHxTxD.shape[1], axis=0)
  return attend(q, k, v, visible_BxTxS).reshape(q_BxHxTxD.shape), kept


def _attend_first(qkv_BxTx3xHxD, rope, visible, cache):
  """As `_attend_cached`, by the platform's kernel, for frames that see no others.

  Returns:
    The attention's output (B, T, H, D), and the new keys and values.
  """
  k, v = qkv_BxTx3xHxD[:, :, 1], qkv_BxTx3xHxD[:, :, 2]
  k = rotate(k, tuple(jnp.swapaxes(table, 1, 2) for table in rope))
  if cache.places_BxT is not None:
    k, v = (reorder(x, cache.places_BxT) for x in (k, v))
  kept = _written(*(jnp.swapaxes(x, 1, 2) for x in (k, v)), cache)
  return attend_all(qkv_BxTx3xHxD, rope, visible), kept


def _written(k_BxHxTxD, v_BxHxTxD, cache):
  """Returns the keys and values of a cache with new ones in it."""
  new = map(ops.join_heads, (k_BxHxTxD, v_BxHxTxD))
  return tuple(
    jax.lax.dynamic_update_slice_in_dim(old, x, cache.slot, axis=-2)
    for old, x in zip(cache.kept, new, strict=True)
  )


class Slots(NamedTuple):
  """A layer's cache, and where new frames go in it.

  Attributes:
    kept: keys and values, as `ops.join_heads` has them.
    slot: of the first new frame.
    places_BxT: each new frame's place among those that a kernel has packed, see
      `self_attention.arrange`; None if they are in order.
  """

  kept: tuple[jax.Array, jax.Array]
  slot: int | jax.Array
  places_BxT: jax.Array | None = None


class RMSNorm(nn.Module):
  """Root-mean-square norm in float32, with one gain vector for each level."""

  num_levels: int = 1

  @nn.compact
  def __call__(self, x_BxTxD: jax.Array, level_B: jax.Array) -> jax.Array:
    gain = self.param("gain", nn.initializers.ones, (self.num_levels, x_BxTxD.shape[2]))
    x = x_BxTxD.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)
    return (x * gain[level_B][:, None]).astype(x_BxTxD.dtype)


class Block(nn.Module):
  """Attention and SwiGLU, each after a norm and on a residual branch.

  Returns the output and, given `cache`, a `Slots`, the new keys and values: it writes
  the frames' own from `slot` on, and attends to the slots that `visible` has a column
  for. If that is a rule, the frames see no others than themselves.
  """

  heads: int
  mlp_width: int
  depth: int
  num_levels: int
  dropout: float
  deterministic: bool
  dtype: Any

  @nn.compact
  def __call__(self, x_BxTxD, visible, rope, level_B, cache=None):
    width = x_BxTxD.shape[-1]
    drop = nn.Dropout(self.dropout, deterministic=self.deterministic)
    out_init = nn.initializers.variance_scaling(
      0.5 / self.depth, "fan_in", "truncated_normal"
    )

    y = RMSNorm(self.num_levels, name="attention_norm")(x_BxTxD, level_B)
    features = (3, self.heads, width // self.heads)
    qkv = nn.DenseGeneral(features, use_bias=False, dtype=self.dtype, name="qkv")(y)
    if cache is None:
      y = attend_all(qkv, rope, visible)
    elif not isinstance(visible, jax.Array):
      y, cache = _attend_first(qkv, rope, visible, cache)
    else:
      q, k, v = jnp.moveaxis(qkv, (2, 3), (0, 2))
      q, k = rotate(q, rope), rotate(k, rope)
      y, cache = _attend_cached(q, k, v, visible, cache)
      y = jnp.swapaxes(y, 1, 2)
    y = nn.DenseGeneral(
      width,
      axis=(-2, -1),
      use_bias=False,
      dtype=self.dtype,
      kernel_init=out_init,
      name="attention_out",
    )(y)
    x_BxTxD = x_BxTxD + drop(y)

    y = RMSNorm(self.num_levels, name="mlp_norm")(x_BxTxD, level_B)
    features = (2, self.mlp_width)
    y = nn.DenseGeneral(features, use_bias=False, dtype=self.dtype, name="mlp_in")(y)
    y = nn.silu(y[:, :, 0]) * y[:, :, 1]
    y = nn.Dense(
      width, use_bias=False, dtype=self.dtype, kernel_init=out_init, name="mlp_out"
    )(y)
    return partition.rows(x_BxTxD + drop(y)), cache


class Transformer(nn.Module):
  """`depth` blocks whose parameters are stacked on axis 0, and a last norm.

  Attributes:
    depth: number of blocks.
    heads: attention heads; must divide the width into even parts.
    mlp_width: hidden width of SwiGLU; about 8/3 of the width if None.
    num_levels: how many gain vectors each norm has; see `level_B`.
    dropout: rate on both residual branches.
    dtype: of the computation; parameters, norms and softmax are float32.
    remat: what of each block's activations is computed again; see `nn.remat`.
  """

  depth: int
  heads: int
  mlp_width: int | None = None
  num_levels: int = 1
  dropout: float = 0.0
  dtype: Any = jnp.float32
  remat: bool | str = "none"

  @nn.compact
  def __call__(
    self,
    x_BxTxD: jax.Array,
    visible: Visible,
    *,
    position_BxT: jax.Array | None = None,
    level_B: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Maps (B, T, D) to (B, T, D) in `dtype`; needs the rng `dropout` to train.

    Args:
      x_BxTxD: input.
      visible: from `bidirectional` or `causal`.
      position_BxT: rotary positions; 0 to T - 1 if None.
      level_B: int32, which gain vectors the norms take; the first if None.
      train: whether to drop out.

    Raises:
      ValueError: the heads do not divide the width into even parts.
    """
    batch, frames, width = x_BxTxD.shape
    if width % (2 * self.heads):
      raise ValueError(
        f"width must be a multiple of 2 * heads, got width {width}, heads {self.heads}"
      )
    if level_B is None:
      level_B = jnp.zeros((batch,), jnp.int32)
    if position_BxT is None:
      position_BxT = jnp.arange(frames)[None]
    x_BxTxD, position_BxT, visible, places_BxT = arrange(
      x_BxTxD, position_BxT, visible, self.dtype, self.heads
    )
    rope = rope_table(position_BxT, width // self.heads)
    block = remat(Block, self.remat, prevent_cse=False)
    layers = nn.scan(
      block,
      variable_axes={"params": 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=nn.broadcast,
      length=self.depth,
    )(**self.block_settings(width, train), name="layers")
    x_BxTxD = partition.rows(x_BxTxD.astype(self.dtype))
    x_BxTxD, _ = layers(x_BxTxD, visible, rope, level_B)
    y_BxTxD = RMSNorm(self.num_levels, name="last_norm")(x_BxTxD, level_B)
    return y_BxTxD if places_BxT is None else reorder(y_BxTxD, places_BxT)

  @nn.nowrap
  def block_settings(self, width: int, train: bool = False) -> dict[str, Any]:
    """Returns the arguments of each `Block` at this width."""
    return {
      "heads": self.heads,
      "mlp_width": self.mlp_width or -(-width * 8 // 3 // 64) * 64,
      "depth": self.depth,
      "num_levels": self.num_levels,
      "dropout": self.dropout,
      "deterministic": not train,
      "dtype": self.dtype,
    }
