"""The autoregressive half of VALL-E: text to codebook 0, frame after frame."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import attention, partition
from jaxcodec.nn.products import einsum_float32
from jaxcodec.slm import code_embedding
from jaxcodec.slm.positions import Pace, place


class ArModel(nn.Module):
  """Transformer over `[text ; begin ; codes]`.

  Text attends to all of the text, a code to all that comes before it.
  Source: VALL-E (arXiv 2301.02111), section 4.2.1.

  Attributes:
    codebook_size: V; the head's last class, V, ends an utterance.
    num_text: number of text symbols.
    width: D.
    transformer: the body.
    positions: the rotary ones, see `positions.check`.
  """

  codebook_size: int
  num_text: int
  width: int
  transformer: attention.Transformer
  positions: str = "sequence"

  def setup(self):
    dtype = self.transformer.dtype
    self.text_embed = code_embedding.Embed(self.num_text, self.width, dtype=dtype)
    # The last row begins an utterance.
    self.code_embed = code_embedding.Embed(
      self.codebook_size + 1, self.width, dtype=dtype
    )
    shape = self.width, self.codebook_size + 1
    self.head = self.param("head", nn.initializers.lecun_normal(), shape)

  def __call__(
    self,
    text_BxS: jax.Array,
    text_mask_BxS: jax.Array,
    code_BxT: jax.Array,
    mask_BxT: jax.Array,
    pace: Pace,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Scores frames 0 to T given the text and the frames before, (B, T + 1, V + 1).

    Args:
      text_BxS: text symbols.
      text_mask_BxS: the valid ones; what the others hold is ignored.
      code_BxT: codes of codebook 0.
      mask_BxT: the valid ones.
      pace: of the rows.
      train: whether to drop out.
    """
    inputs = text_BxS, text_mask_BxS, code_BxT, mask_BxT, pace
    x_BxNxD, mask_BxN, position_BxN = self.embed(*inputs)
    y_BxNxD = self.transformer(
      x_BxNxD,
      attention.causal(mask_BxN, text_BxS.shape[1]),
      position_BxT=position_BxN,
      train=train,
    )
    return self.logits(y_BxNxD[:, text_BxS.shape[1] :])

  def embed(self, text_BxS, text_mask_BxS, code_BxT, mask_BxT, pace):
    """Embeds the whole input: (B, N, D) with N = S + 1 + T.

    Also returns its valid entries and their positions, (B, N).
    """
    begin_Bx1 = jnp.full((text_BxS.shape[0], 1), self.codebook_size, jnp.int32)
    code_BxT = jnp.concatenate([begin_Bx1, jnp.where(mask_BxT, code_BxT, 0)], axis=1)
    mask_BxT = jnp.pad(mask_BxT, ((0, 0), (1, 0)), constant_values=True)
    x_BxSxD = self.text_embed(jnp.where(text_mask_BxS, text_BxS, 0))
    x_BxNxD = jnp.concatenate([x_BxSxD, self.code_embed(code_BxT)], axis=1)
    position_BxN = place(self.positions, text_mask_BxS, mask_BxT, pace, begin=True)
    mask_BxN = jnp.concatenate([text_mask_BxS, mask_BxT], axis=1)
    return x_BxNxD, mask_BxN, position_BxN

  def embed_codes(self, code_BxT: jax.Array) -> jax.Array:
    """Embeds frames alone, (B, T, D)."""
    return self.code_embed(code_BxT)

  def logits(self, y_BxTxD: jax.Array) -> jax.Array:
    """Scores the frame after each output of the body, (B, T, V + 1) float32."""
    head = partition.whole(self.head.astype(y_BxTxD.dtype))
    return einsum_float32("btd,dv->btv", y_BxTxD, head)
