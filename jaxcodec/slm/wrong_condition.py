"""Conditions about other words, with which a model that uses its condition does worse.

Each row is given its neighbour's. The losses that right and wrong conditions leave
differ by what a model takes from its condition, nats.
"""

import jax
import jax.numpy as jnp

from jaxcodec.types import Batch


def borrow_semantic(semantic_BxT: jax.Array, mask_BxT: jax.Array) -> jax.Array:
  """Gives each row the semantic tokens of the next non-empty row, repeated to fit.

  The only row that isn't empty is given its own ones backwards.
  """
  length_B = mask_BxT.sum(1)
  other_B = _next_rows(length_B > 0)
  at_1xT = jnp.arange(mask_BxT.shape[1])[None]
  at_BxT = at_1xT % jnp.maximum(length_B[other_B], 1)[:, None]
  own_Bx1 = (other_B == jnp.arange(len(other_B)))[:, None]
  last_Bx1 = length_B[:, None] - 1
  at_BxT = jnp.where(own_Bx1, jnp.maximum(last_Bx1 - at_BxT, 0), at_BxT)
  return jnp.take_along_axis(semantic_BxT[other_B], at_BxT, axis=1)


def borrow_text(
  text_BxS: jax.Array, text_mask_BxS: jax.Array, filled_B: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Gives each row the text of the next row that is filled, and its mask.

  Where that is the row's own text, it is given that one backwards: the same sentence
  may be there in several voices.

  Args:
    text_BxS: texts between begin and end.
    text_mask_BxS: the valid symbols, a prefix of each row.
    filled_B: which rows have frames.
  """
  text_BxS = jnp.where(text_mask_BxS, text_BxS, -1)
  other_B = _next_rows(filled_B)
  wrong_BxS, wrong_mask_BxS = text_BxS[other_B], text_mask_BxS[other_B]
  same_Bx1 = (wrong_BxS == text_BxS).all(1, keepdims=True)
  wrong_BxS = jnp.where(same_Bx1, _backwards(wrong_BxS, wrong_mask_BxS), wrong_BxS)
  return jnp.where(wrong_mask_BxS, wrong_BxS, 0), wrong_mask_BxS


def with_wrong_text(batch: Batch) -> Batch:
  """Returns a batch whose rows have another's text, each as a single utterance.

  What they are read behind is of the right text, so that no boundary is left.
  """
  text_BxS, text_mask_BxS = borrow_text(
    batch["text_BxS"], batch["text_mask_BxS"], batch["mask_BxT"].any(1)
  )
  wrong = {"text_BxS": text_BxS, "text_mask_BxS": text_mask_BxS}
  return {**batch, **wrong, "prompt_symbols_B": None, "prompt_frames_B": None}


def _next_rows(filled_B):
  """Returns for each row the next one that is filled, after the last one the first."""
  order_B = jnp.argsort(~filled_B, stable=True)
  return order_B[jnp.cumsum(filled_B) % jnp.maximum(filled_B.sum(), 1)]


def _backwards(text_BxS, text_mask_BxS):
  """Turns around what stands between begin and end."""
  at_1xS, last_Bx1 = (
    jnp.arange(text_BxS.shape[1])[None],
    text_mask_BxS.sum(1)[:, None] - 1,
  )
  inside = (at_1xS > 0) & (at_1xS < last_Bx1)
  return jnp.take_along_axis(text_BxS, jnp.where(inside, last_Bx1 - at_1xS, at_1xS), 1)
