"""Pre-norm transformer with rotary positions, whose layers are stacked by a scan.

`kv_cache` runs it on a growing sequence, a few frames at a time.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import ops, partition
from jaxcodec.nn.remat import remat

_MASKED = -1e30
_ROPE_BASE = 10_000.0


def rope_table(position_BxT: jax.Array, head_dim: int) -> tuple[jax.Array, jax.Array]:
  """Returns cosines and sines of rotary positions, (B, 1, T, head_dim / 2) float32.

  Args:
    position_BxT: integer or float positions; B may be 1.
    head_dim: width of a head.

  Source: RoFormer (arXiv 2104.09864), eq. 15, in the split-halves form.
  """
  rate_D = _ROPE_BASE ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
  position_BxTx1 = position_BxT.astype(jnp.float32)[:, :, None]
  angle_Bx1xTxD = (position_BxTx1 * rate_D[None, None])[:, None]
  return jnp.cos(angle_Bx1xTxD), jnp.sin(angle_Bx1xTxD)


def rotate(x_BxHxTxD: jax.Array, table: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates each pair (x[i], x[i + D/2]) by its position's angle, in float32."""
  cos, sin = table
  a, b = jnp.split(x_BxHxTxD.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  return turned.astype(x_BxHxTxD.dtype)


def attend(
  q_BxHxTxD: jax.Array,
  k_BxHxSxD: jax.Array,
  v_BxHxSxD: jax.Array,
  visible_BxTxS: jax.Array,
  bias_BxHxTxS: jax.Array | None = None,
) -> jax.Array:
  """Computes scaled dot-product attention with a float32 softmax, (B, H, T, D).

  Batch and heads may also be one axis of all arguments. The division by the softmax's
  sum comes after the product with the values, where there are fewer numbers to divide.

  Args:
    q_BxHxTxD: queries.
    k_BxHxSxD: keys.
    v_BxHxSxD: values.
    visible_BxTxS: bool, which keys a query sees; T may be 1 (the same for all).
    bias_BxHxTxS: added to the scaled scores, if not None.
  """
  scale = q_BxHxTxD.shape[-1] ** -0.5
  if q_BxHxTxD.ndim == 4:
    visible_BxTxS = visible_BxTxS[:, None]
  q, k = q_BxHxTxD * scale, k_BxHxSxD
  score = jnp.einsum("...td,...sd->...ts", q, k, preferred_element_type=jnp.float32)
  if bias_BxHxTxS is not None:
    score = score + bias_BxHxTxS
  score = jnp.where(visible_BxTxS, score, _MASKED)
  weight = jnp.exp(score - jax.lax.stop_gradient(score.max(-1, keepdims=True)))
  total = weight.sum(-1, keepdims=True)
  out = jnp.einsum("...ts,...sd->...td", weight.astype(v_BxHxSxD.dtype), v_BxHxSxD)
  return out / total.astype(out.dtype)


def _attend_cached(q_BxHxTxD, k_BxHxTxD, v_BxHxTxD, visible_BxTxS, cache):
  """Writes the new keys and values to a cache, and attends to what is in it then.

  Args:
    q_BxHxTxD, k_BxHxTxD, v_BxHxTxD: of the new frames.
    visible_BxTxS: which of the first S slots they see.
    cache: (keys, values, slot); see `Block`.

  Returns:
    The attention's output (B, H, T, D), and the new keys and values.
  """
  *kept, slot = cache
  q, *new = map(ops.join_heads, (q_BxHxTxD, k_BxHxTxD, v_BxHxTxD))
  kept = tuple(
    jax.lax.dynamic_update_slice_in_dim(old, x, slot, axis=-2)
    for old, x in zip(kept, new, strict=True)
  )
  k, v = (x[..., : visible_BxTxS.shape[2], :] for x in kept)
  if q.ndim == 3:
    visible_BxTxS = jnp.repeat(visible_BxTxS, q_BxHxTxD.shape[1], axis=0)
  return attend(q, k, v, visible_BxTxS).reshape(q_BxHxTxD.shape), kept


def causal(mask_BxT: jax.Array, prefix: int = 0) -> jax.Array:
  """Returns visibility (B, T, T): each frame sees the valid frames up to itself.

  All frames also see the first `prefix` frames.
  """
  at = jnp.arange(mask_BxT.shape[1])
  seen = (at[None, :] <= at[:, None]) | (at[None, :] < prefix)
  return mask_BxT[:, None] & seen[None]


def bidirectional(mask_BxT: jax.Array) -> jax.Array:
  """Returns visibility (B, 1, T): each frame sees all valid frames."""
  return mask_BxT[:, None]


def positions(mask_BxT: jax.Array) -> jax.Array:
  """Returns each valid frame's position among its row's valid ones, (B, T) int32."""
  return jnp.maximum(jnp.cumsum(mask_BxT, axis=1, dtype=jnp.int32) - 1, 0)


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

  Returns the output and, given `cache`, (keys, values, slot), the new keys and values:
  it writes the frames' own from `slot` on, and attends to the slots that `visible` has
  a column for.
  """

  heads: int
  mlp_width: int
  depth: int
  num_levels: int
  dropout: float
  deterministic: bool
  dtype: Any

  @nn.compact
  def __call__(self, x_BxTxD, visible_BxTxS, rope, level_B, cache=None):
    width = x_BxTxD.shape[-1]
    drop = nn.Dropout(self.dropout, deterministic=self.deterministic)
    out_init = nn.initializers.variance_scaling(
      0.5 / self.depth, "fan_in", "truncated_normal"
    )

    y = RMSNorm(self.num_levels, name="attention_norm")(x_BxTxD, level_B)
    features = (3, self.heads, width // self.heads)
    qkv = nn.DenseGeneral(features, use_bias=False, dtype=self.dtype, name="qkv")(y)
    q, k, v = jnp.moveaxis(qkv, (2, 3), (0, 2))
    q, k = rotate(q, rope), rotate(k, rope)
    if cache is None:
      y = attend(q, k, v, visible_BxTxS)
    else:
      y, cache = _attend_cached(q, k, v, visible_BxTxS, cache)
    y = nn.DenseGeneral(
      width,
      axis=(-2, -1),
      use_bias=False,
      dtype=self.dtype,
      kernel_init=out_init,
      name="attention_out",
    )(jnp.swapaxes(y, 1, 2))
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
    visible_BxTxS: jax.Array,
    *,
    position_BxT: jax.Array | None = None,
    level_B: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Maps (B, T, D) to (B, T, D) in `dtype`; needs the rng `dropout` to train.

    Args:
      x_BxTxD: input.
      visible_BxTxS: from `bidirectional` or `causal`.
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
    x_BxTxD, _ = layers(x_BxTxD, visible_BxTxS, rope, level_B)
    return RMSNorm(self.num_levels, name="last_norm")(x_BxTxD, level_B)

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
