"""The non-autoregressive half of VALL-E: from codebook 0 to the others, one by one."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import attention
from jaxcodec.slm import code_embedding, sampling
from jaxcodec.slm.options import given_when_run
from jaxcodec.slm.positions import Pace, place


class NarModel(nn.Module):
  """Bidirectional transformer over `[text ; frames]` that predicts one level a row.

  A frame is the sum of its codes' embeddings. The level enters through the norms'
  gains. Source: VALL-E (arXiv 2301.02111), section 4.2.2.

  Attributes:
    num_codebooks: K.
    codebook_size: V; code V stands for a hidden one.
    num_text: number of text symbols.
    width: D.
    transformer: the body, with K - 1 levels.
    positions: the rotary ones, see `positions.check`.
  """

  num_codebooks: int
  codebook_size: int
  num_text: int
  width: int
  transformer: attention.Transformer
  positions: str = "sequence"

  def setup(self):
    books, codes = self.num_codebooks, self.codebook_size
    dtype = self.transformer.dtype
    self.text_embed = code_embedding.Embed(self.num_text, self.width, dtype=dtype)
    # Each codebook's table ends with the row of its hidden codes.
    self.code_embed = self.param(
      "code_embed", code_embedding.embed_init, (books, codes + 1, self.width)
    )
    shape = books - 1, self.width, codes
    self.head = self.param("head", code_embedding.head_init, shape)

  def __call__(
    self,
    text_BxS: jax.Array,
    text_mask_BxS: jax.Array,
    codes_BxTxK: jax.Array,
    mask_BxT: jax.Array,
    level_B: jax.Array,
    pace: Pace,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Scores one level a row, (B, T, V) float32.

    Args:
      text_BxS: text symbols.
      text_mask_BxS: the valid ones; what the others hold is ignored.
      codes_BxTxK: codes, V where hidden, as `masking.hide` gives them.
      mask_BxT: valid frames.
      level_B: the codebook to predict, 1 to K - 1.
      pace: of the rows.
      train: whether to drop out.
    """
    codes_BxTxK = jnp.where(mask_BxT[:, :, None], codes_BxTxK, self.codebook_size)
    x_BxSxD = self.text_embed(jnp.where(text_mask_BxS, text_BxS, 0))
    x_BxTxD = code_embedding.embed_sum(self.code_embed, codes_BxTxK, x_BxSxD.dtype)
    mask_BxN = jnp.concatenate([text_mask_BxS, mask_BxT], axis=1)
    y_BxNxD = self.transformer(
      jnp.concatenate([x_BxSxD, x_BxTxD], axis=1),
      attention.bidirectional(mask_BxN),
      position_BxT=place(self.positions, text_mask_BxS, mask_BxT, pace),
      level_B=level_B - 1,
      train=train,
    )
    y_BxTxD = y_BxNxD[:, text_BxS.shape[1] :]
    return code_embedding.logits(y_BxTxD, self.head, level_B - 1)


@given_when_run(temperature=0.0, top_p=1.0)
@dataclasses.dataclass(frozen=True)
class Draw:
  """How the levels are chosen; see `ArSampler`, and `filter_logits`."""

  temperature: float
  top_k: int
  top_p: float
  choice: str = "draw"


def choose(
  logits_BxTxV: jax.Array, table_VxD: jax.Array, key_B: jax.Array, draw: Draw
) -> jax.Array:
  """Chooses a code for each frame, (B, T) int32; `table_VxD` has their embeddings."""
  if draw.choice == "mean":
    return sampling.nearest_to_mean(logits_BxTxV, table_VxD, draw.temperature)
  return sampling.draw(
    logits_BxTxV,
    sampling.frame_keys(key_B, logits_BxTxV.shape[1]),
    temperature=draw.temperature,
    top_k=draw.top_k,
    top_p=draw.top_p,
  )


def fill_levels(
  model: NarModel,
  draw: Draw,
  params: Any,
  key_B: jax.Array,
  text: tuple[jax.Array, jax.Array],
  prompt: tuple[jax.Array, jax.Array],
  frames: tuple[jax.Array, jax.Array],
  pace: Pace,
  known: int | jax.Array = 0,
) -> jax.Array:
  """Fills in the codes of frames whose codebook 0 is known, (B, T, K) int32.

  Args:
    model: the model.
    draw: how to draw.
    params: its parameters.
    key_B: a key a row.
    text: (text_BxS, text_mask_BxS) of the prompt and the rest.
    prompt: (codes_BxPxK, mask_BxP), all of whose levels are seen.
    frames: (codes_BxTxK, mask_BxT) behind the prompt.
    pace: of the rows.
    known: of how many first frames all levels are known, and seen as a prompt's are;
      of the others only codebook 0 is read.
  """
  codes_BxTxK, mask_BxT = frames
  prompt_BxPxK, prompt_mask_BxP = prompt
  past, books = prompt_mask_BxP.shape[1], model.num_codebooks
  mask_BxN = jnp.concatenate([prompt_mask_BxP, mask_BxT], axis=1)
  open_1xT = (jnp.arange(mask_BxT.shape[1]) >= known)[None]

  def fill(codes_BxNxK, level):
    level_B = jnp.full(key_B.shape, level)
    inputs = *text, codes_BxNxK, mask_BxN, level_B, pace
    logits_BxNxV = model.apply({"params": params}, *inputs)
    level_key_B = jax.vmap(jax.random.fold_in, (0, None))(key_B, level)
    table_VxD = params["code_embed"][level, : model.codebook_size]
    token_BxT = choose(logits_BxNxV[:, past:], table_VxD, level_key_B, draw)
    token_BxT = jnp.where(open_1xT, token_BxT, codes_BxNxK[:, past:, level])
    at = 0, past, level
    return jax.lax.dynamic_update_slice(codes_BxNxK, token_BxT[:, :, None], at), None

  hidden_1xTxK = open_1xT[:, :, None] & (jnp.arange(books) > 0)[None, None]
  shown_BxTxK = jnp.where(hidden_1xTxK, model.codebook_size, codes_BxTxK)
  start_BxNxK = jnp.concatenate([prompt_BxPxK, shown_BxTxK], axis=1)
  codes_BxNxK, _ = jax.lax.scan(fill, start_BxNxK, jnp.arange(1, books))
  return jnp.where(mask_BxT[:, :, None], codes_BxNxK[:, past:], 0)
