"""Self-attention with rotary positions, in the form that is fastest on the platform."""

import jax
import jax.numpy as jnp

from jaxcodec.nn import ops, visibility
from jaxcodec.nn.products import einsum_float32
from jaxcodec.nn.visibility import Packed, Visible

# What layers take of a sequence: a rule, its form for a kernel, or an array (B, T, S).
Sight = Visible | Packed | jax.Array

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
  score = einsum_float32("...td,...sd->...ts", q, k)
  if bias_BxHxTxS is not None:
    score = score + bias_BxHxTxS
  score = jnp.where(visible_BxTxS, score, _MASKED)
  weight = jnp.exp(score - jax.lax.stop_gradient(score.max(-1, keepdims=True)))
  total = weight.sum(-1, keepdims=True)
  out = jnp.einsum("...ts,...sd->...td", weight.astype(v_BxHxSxD.dtype), v_BxHxSxD)
  return out / total.astype(out.dtype)


def attend_all(
  qkv_BxTx3xHxD: jax.Array, rope: tuple[jax.Array, jax.Array], visible: Sight
) -> jax.Array:
  """Computes self-attention of all frames, (B, T, H, D), by the platform's kernel.

  Without one the heads come before the frames in between, which is the faster order for
  a CPU's matrix products.
  """
  kernel = ops.attention_kernel(qkv_BxTx3xHxD.dtype, qkv_BxTx3xHxD.shape[-1])
  if kernel is None:
    visible_BxTxS = visible.dense() if isinstance(visible, Visible) else visible
    q, k, v = jnp.moveaxis(qkv_BxTx3xHxD, (2, 3), (0, 2))
    y_BxHxTxD = attend(rotate(q, rope), rotate(k, rope), v, visible_BxTxS)
    return jnp.swapaxes(y_BxHxTxD, 1, 2)
  q, k, v = (qkv_BxTx3xHxD[:, :, i] for i in range(3))
  rope = tuple(jnp.swapaxes(table, 1, 2) for table in rope)
  return kernel.attend(rotate(q, rope), rotate(k, rope), v, visible)


def arrange(
  x_BxTxD: jax.Array,
  position_BxT: jax.Array,
  visible: Visible,
  dtype: jnp.dtype,
  heads: int,
) -> tuple[jax.Array, jax.Array, Sight, jax.Array | None]:
  """Brings a sequence into the form in which all layers attend fastest.

  Args:
    x_BxTxD: its frames.
    position_BxT: their rotary positions; B may be 1.
    visible: what they see.
    dtype: of the layers.
    heads: their number.

  Returns:
    All three, and each frame's new place (B, T), None if none has moved.
  """
  kernel = ops.attention_kernel(dtype, x_BxTxD.shape[2] // heads)
  if kernel is None:
    return x_BxTxD, position_BxT, visible.dense(), None
  if not kernel.packed:
    return x_BxTxD, position_BxT, visible, None
  packed, order = visibility.pack(visible)
  position_BxT = jnp.broadcast_to(position_BxT, x_BxTxD.shape[:2])
  behind = -x_BxTxD.shape[1] % kernel.packed

  def move(x_BxTx):
    moved = visibility.reorder(x_BxTx, order.from_BxT)
    return jnp.pad(moved, ((0, 0), (0, behind)) + ((0, 0),) * (moved.ndim - 2))

  return move(x_BxTxD), move(position_BxT), packed, order.to_BxT
