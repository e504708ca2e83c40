"""Which symbol a frame is spoken from: an AR model's attention over its text."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.nn import attention
from jaxcodec.slm.ar import ArModel


@functools.partial(jax.jit, static_argnums=0)
def text_attention(
  model: ArModel, params: Any, inputs: tuple[jax.Array, ...]
) -> jax.Array:
  """Returns every head's attention over the text, (L, B, H, T, S) float32.

  Args:
    model: the autoregressive half, of L layers of H heads.
    params: its parameters.
    inputs: its arguments; entry t of T is what frame t is predicted with.
  """
  x_BxNxD, mask_BxN, position_BxN = model.apply(
    {"params": params}, *inputs, method="embed"
  )
  body, symbols, width = model.transformer, inputs[0].shape[1], x_BxNxD.shape[2]
  block = attention.Block(**body.block_settings(width))
  visible = attention.causal(mask_BxN, symbols)
  rope = attention.rope_table(position_BxN, width // body.heads)
  level_B = jnp.zeros(mask_BxN.shape[:1], jnp.int32)

  def layer(x_BxNxD, weights):
    (x_BxNxD, _), seen = block.apply(
      {"params": weights},
      x_BxNxD,
      visible,
      rope,
      level_B,
      capture_intermediates=lambda module, _: module.name == "qkv",
    )
    (qkv,) = seen["intermediates"]["qkv"]["__call__"]
    q, k, _ = jnp.moveaxis(qkv, (2, 3), (0, 2))
    q, k = attention.rotate(q, rope), attention.rotate(k, rope)
    score = jnp.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
    score = jnp.where(visible[:, None], score.astype(jnp.float32), -jnp.inf)
    return x_BxNxD, jax.nn.softmax(score)[:, :, symbols:-1, :symbols]

  start = x_BxNxD.astype(body.dtype)
  return jax.lax.scan(layer, start, params["transformer"]["layers"])[1]


def sharpest(weight_LxBxHxTxS: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Chooses the head that looks at single symbols; of one row (B = 1).

  Source: the focus rate of FastSpeech (arXiv 1905.09263), section 3.3.

  Returns:
    Its attention (T, S), and its focus rate: the mean over frames of the largest weight
    on a symbol.
  """
  layers, _, heads, frames, symbols = weight_LxBxHxTxS.shape
  of_heads = weight_LxBxHxTxS[:, 0].reshape(layers * heads, frames, symbols)
  focus = of_heads.max(-1).mean(-1)
  return of_heads[focus.argmax()], focus.max()
