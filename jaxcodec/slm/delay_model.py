"""The transformer of the delay pattern: all codebooks, each a frame after the last.

Source: MusicGen (arXiv 2306.05284), section 2.2, "delay".
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import attention, partition
from jaxcodec.nn.products import einsum_float32
from jaxcodec.slm import code_embedding
from jaxcodec.slm.positions import Pace, place


def extra_steps(books: int) -> int:
  """Returns how many steps follow the last frame, for other codebooks and the end."""
  return max(books - 1, 1)


def delay(codes_BxTxK: jax.Array, mask_BxT: jax.Array, nothing: int) -> jax.Array:
  """Moves codebook k by k steps, (B, T + extra_steps, K).

  Args:
    codes_BxTxK: codes.
    mask_BxT: valid frames, a prefix of each row.
    nothing: what stands where a codebook has no code.
  """
  books = codes_BxTxK.shape[2]
  codes_BxTxK = jnp.where(mask_BxT[:, :, None], codes_BxTxK, nothing)
  extra = extra_steps(books)
  moved = [
    jnp.pad(codes_BxTxK[:, :, k], ((0, 0), (k, extra - k)), constant_values=nothing)
    for k in range(books)
  ]
  return jnp.stack(moved, axis=2)


def undo_delay(codes_BxNxK: jax.Array) -> jax.Array:
  """Undoes `delay`, (B, N - extra_steps, K)."""
  books = codes_BxNxK.shape[2]
  frames = codes_BxNxK.shape[1] - extra_steps(books)
  return jnp.stack([codes_BxNxK[:, k : k + frames, k] for k in range(books)], axis=2)


def delayed_mask(mask_BxT: jax.Array, books: int) -> jax.Array:
  """Returns the steps of `delay` that belong to a row, (B, T + extra_steps)."""
  extra = extra_steps(books)
  any_Bx1 = mask_BxT.any(1, keepdims=True)
  at_1xN = jnp.arange(mask_BxT.shape[1] + extra)[None]
  return any_Bx1 & (at_1xN < mask_BxT.sum(1, keepdims=True) + extra)


class DelayModel(nn.Module):
  """Transformer over `[text ; begin ; steps]` that scores all codebooks of a step.

  A step is the sum of its codes' embeddings. Text attends to all of the text, a step to
  all that comes before it.

  Attributes:
    num_codebooks: K.
    codebook_size: V; code V stands for none, as the class V of codebook 0 ends a row.
    num_text: number of text symbols.
    width: D.
    transformer: the body.
    positions: the rotary ones, see `positions.check`; a step stands where the frame of
      its codebook 0 does.
  """

  num_codebooks: int
  codebook_size: int
  num_text: int
  width: int
  transformer: attention.Transformer
  positions: str = "aligned"

  def setup(self):
    books, classes = self.num_codebooks, self.codebook_size + 1
    self.text_embed = code_embedding.Embed(
      self.num_text, self.width, dtype=self.transformer.dtype
    )
    self.code_embed = self.param(
      "code_embed", code_embedding.embed_init, (books, classes, self.width)
    )
    shape = books, self.width, classes
    self.head = self.param("head", code_embedding.head_init, shape)

  def __call__(
    self,
    text_BxS: jax.Array,
    text_mask_BxS: jax.Array,
    codes_BxNxK: jax.Array,
    mask_BxN: jax.Array,
    pace: Pace,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Returns what steps 0 to N are scored by, (B, N + 1, D); see `logits`.

    Args:
      text_BxS: text symbols.
      text_mask_BxS: the valid ones; what the others hold is ignored.
      codes_BxNxK: delayed codes, V where there is none.
      mask_BxN: the steps of each row.
      pace: of the rows.
      train: whether to drop out.
    """
    inputs = text_BxS, text_mask_BxS, codes_BxNxK, mask_BxN, pace
    x_BxMxD, mask_BxM, position_BxM = self.embed(*inputs)
    y_BxMxD = self.transformer(
      x_BxMxD,
      attention.causal(mask_BxM, text_BxS.shape[1]),
      position_BxT=position_BxM,
      train=train,
    )
    return y_BxMxD[:, text_BxS.shape[1] :]

  def embed(self, text_BxS, text_mask_BxS, codes_BxNxK, mask_BxN, pace):
    """Embeds the whole input: (B, M, D) with M = S + 1 + N.

    Also returns its valid entries and their positions, (B, M).
    """
    nothing = self.codebook_size
    codes_BxNxK = jnp.where(mask_BxN[:, :, None], codes_BxNxK, nothing)
    begun = jnp.pad(codes_BxNxK, ((0, 0), (1, 0), (0, 0)), constant_values=nothing)
    mask_BxN = jnp.pad(mask_BxN, ((0, 0), (1, 0)), constant_values=True)
    x_BxSxD = self.text_embed(jnp.where(text_mask_BxS, text_BxS, 0))
    x_BxMxD = jnp.concatenate([x_BxSxD, self.embed_codes(begun)], axis=1)
    position_BxM = place(self.positions, text_mask_BxS, mask_BxN, pace, begin=True)
    return x_BxMxD, jnp.concatenate([text_mask_BxS, mask_BxN], axis=1), position_BxM

  def embed_codes(self, codes_BxNxK: jax.Array) -> jax.Array:
    """Embeds steps alone, (B, N, D)."""
    dtype = self.transformer.dtype
    return code_embedding.embed_sum(self.code_embed, codes_BxNxK, dtype)

  def logits(self, y_BxNxD: jax.Array) -> jax.Array:
    """Scores the step after each output of the body, (B, N, K, V + 1) float32."""
    head = partition.whole(self.head.astype(y_BxNxD.dtype))
    return einsum_float32("bnd,kdv->bnkv", y_BxNxD, head)
