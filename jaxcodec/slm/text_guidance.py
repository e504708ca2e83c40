"""Guidance by the text: how speech with it differs from speech without any.

Classifier-free guidance (arXiv 2207.12598), as MusicGen has it (arXiv 2306.05284): a
model that has learnt to speak without a text, too, can be told to heed it more.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.slm.incremental import Masked


def without_text(text_BxS: jax.Array, text_mask_BxS: jax.Array) -> Masked:
  """Returns begin and end of each text with nothing between, and their mask."""
  last_Bx1 = jnp.maximum(text_mask_BxS.sum(1, keepdims=True) - 1, 0)
  end_Bx1 = jnp.take_along_axis(text_BxS, last_Bx1, axis=1)
  at_1xS = jnp.arange(text_BxS.shape[1])[None]
  bare_BxS = jnp.where(at_1xS == 1, end_Bx1, text_BxS)
  # An empty row stays empty.
  return bare_BxS, text_mask_BxS & (at_1xS < 2)


def drop_texts(
  rng: jax.Array, rate: float, text_BxS: jax.Array, text_mask_BxS: jax.Array
) -> Masked:
  """Takes the texts of a share of the rows away, for training."""
  dropped_Bx1 = jax.random.bernoulli(rng, rate, (len(text_BxS), 1))
  bare = without_text(text_BxS, text_mask_BxS)
  kept = text_BxS, text_mask_BxS
  return tuple(jnp.where(dropped_Bx1, b, k) for b, k in zip(bare, kept, strict=True))


def beside_none(text: Masked, *others: Any) -> tuple[Any, ...]:
  """Returns the rows with their texts, then the same rows without, (2 B, ...)."""
  with_and_without = jax.tree.map(
    lambda *rows: jnp.concatenate(rows), text, without_text(*text)
  )
  return with_and_without, *map(twice, others)


def twice(tree: Any) -> Any:
  """Returns rows, then the same rows again."""
  return jax.tree.map(lambda x: jnp.concatenate([x, x]), tree)


def guide(scores_2BxKxV: jax.Array, guidance: float) -> jax.Array:
  """Adds what the text does to the scores without it, `guidance` times, (B, K, V)."""
  with_text, without = jnp.split(scores_2BxKxV, 2)
  return without + guidance * (with_text - without)
