"""Draws tokens from logits, with noise that depends on the row and the frame alone.

Every random number comes from the key of its row and the index of its frame, so neither
padding nor the other rows of a batch change what a row generates.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.nn import dsp
from jaxcodec.nn.ops import first_argmax, keep_top_k, keep_top_p
from jaxcodec.quantizers.codebook import nearest
from jaxcodec.slm.options import is_set


def check_fields(sampler: Any, *rules: tuple[str, bool, str]) -> None:
  """Checks the fields that every sampler has, and rules of its own.

  Args:
    sampler: has `temperature`, `top_k` and `top_p`.
    rules: (field, whether it is wrong, what it must be).

  Raises:
    ValueError: naming the first field that is wrong.
  """
  for name, wrong, wanted in (
    *rules,
    ("temperature", sampler.temperature < 0, "0 or more"),
    ("top_k", sampler.top_k < 0, "0 or more"),
    ("top_p", not 0 < sampler.top_p <= 1, "in (0, 1]"),
  ):
    if wrong:
      raise ValueError(
        f"sampler.{name} must be {wanted}, got {getattr(sampler, name)!r}"
      )


def row_keys(rng: jax.Array, rows: int) -> jax.Array:
  """Makes one key a row, (B,); row b's depends on `rng` and b alone."""
  return jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(rows))


def split(key_B: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Splits each row's key into two independent ones, each (B,)."""
  key_Bx2 = jax.vmap(jax.random.split)(key_B)
  return key_Bx2[:, 0], key_Bx2[:, 1]


def frame_keys(key_B: jax.Array, frames: int) -> jax.Array:
  """Makes one key a frame, (B, T); a frame's key does not depend on T."""
  over_frames = jax.vmap(jax.random.fold_in, (None, 0))
  return jax.vmap(over_frames, (0, None))(key_B, jnp.arange(frames))


def uniform(key_BxT: jax.Array) -> jax.Array:
  """Draws a number in [0, 1) for each key, (B, T) float32."""
  return jax.vmap(jax.vmap(jax.random.uniform))(key_BxT)


def gumbel(key_BxT: jax.Array, size: int) -> jax.Array:
  """Draws standard Gumbel noise, (B, T, size) float32."""
  draw = functools.partial(jax.random.gumbel, shape=(size,))
  return jax.vmap(jax.vmap(draw))(key_BxT)


def filter_logits(
  logits_BxTxV: jax.Array, *, temperature: float, top_k: int, top_p: float
) -> jax.Array:
  """Divides logits by the temperature, then excludes by top-k, then by top-p.

  Top-p is nucleus sampling (arXiv 1904.09751), section 3.1.
  A temperature of 0 (greedy), a top_k of 0 and a top_p of 1 each leave them alone.
  """
  if is_set(temperature, 0):
    logits_BxTxV = logits_BxTxV / temperature
  if 0 < top_k < logits_BxTxV.shape[-1]:
    logits_BxTxV = keep_top_k(logits_BxTxV, top_k)
  if is_set(top_p, 1):
    logits_BxTxV = keep_top_p(logits_BxTxV, top_p)
  return logits_BxTxV


def draw(
  logits_BxTxV: jax.Array,
  key_BxT: jax.Array,
  *,
  temperature: float,
  top_k: int,
  top_p: float,
) -> jax.Array:
  """Draws a token a frame from the filtered logits, (B, T) int32.

  At a temperature of 0 it is the likeliest, and the keys are not used.
  """
  if not is_set(temperature, 0):
    return first_argmax(logits_BxTxV)
  allowed = filter_logits(
    logits_BxTxV, temperature=temperature, top_k=top_k, top_p=top_p
  )
  return first_argmax(allowed + gumbel(key_BxT, logits_BxTxV.shape[-1]))


def nearest_to_mean(
  logits_BxTxV: jax.Array, table_VxD: jax.Array, temperature: float = 1.0
) -> jax.Array:
  """Returns the code whose vector is nearest to the mean of all, (B, T) int32.

  The mean is weighted by the codes' probabilities: it has the least expected squared
  distance to the vector of the true code.
  """
  p_BxTxV = jax.nn.softmax(logits_BxTxV / temperature, axis=-1)
  table_VxD = table_VxD.astype(jnp.float32)
  return nearest(dsp.matmul(p_BxTxV, table_VxD), table_VxD)
