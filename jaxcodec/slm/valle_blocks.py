"""Generates by VALL-E block after block: all codebooks of the first frames at once."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.slm import ar_frames, autoregressive, incremental, sampling, steps
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.block_sizes import BlockSizes
from jaxcodec.slm.positions import Pace, own_pace
from jaxcodec.types import Tokens


def generate(
  model: Any,
  params: Any,
  rng: jax.Array,
  text_BxS: jax.Array,
  text_mask_BxS: jax.Array,
  *,
  prompt: Tokens | None = None,
  prompt_symbols_B: jax.Array | None = None,
  sampler: ArSampler | None = None,
  sizes: BlockSizes,
) -> Iterator[tuple[Tokens, jax.Array]]:
  """Speaks texts, and gives the codes of a block while the next is not yet spoken.

  Codebook 0 is that of `autoregressive.generate`. The others are filled in without
  what comes later than `sizes.ahead` frames behind the block, with all codes before it
  as if it went on from a prompt, and, with aligned positions, at the pace that codebook
  0 is spoken at, as a row's own is known only when it has ended. So they differ from
  those of the whole, but in a single block, or where the model looks on none of this.

  Args:
    model, params, rng, text_BxS, text_mask_BxS, prompt, prompt_symbols_B, sampler: see
      `autoregressive.generate`, and what that raises.
    sizes: of the blocks.

  Returns:
    An iterator over the next frames of all rows, and which rows have ended by
    themselves so far.
  """
  sampler = sampler or ArSampler()
  rows, text = text_BxS.shape[0], (text_BxS, text_mask_BxS)
  prompt = incremental.check_prompt(prompt, rows, model.spec.num_codebooks)
  pace = incremental.known_pace(model, prompt[1], prompt_symbols_B)
  key_B = rng if rng.shape else sampling.row_keys(rng, rows)
  ar_key_B, nar_key_B = sampling.split(key_B)
  filler = _Filler(model, sampler, (params["nar"], nar_key_B, text, prompt), pace)
  return _blocks(filler, (params["ar"], ar_key_B, text, prompt, pace), sizes)


def _blocks(filler, inputs, sizes):
  sampler, books = filler.sampler, filler.model.spec.num_codebooks
  how = ar_frames.STEPS, filler.model.ar, sampler
  given, state = steps.begin(*how, *inputs)
  shape = len(state.ended_B), sampler.max_frames, books
  codes_BxTxK, known, done, wanted = np.zeros(shape, np.int32), 0, False, sizes.first
  while not done:
    missing = known + wanted + sizes.ahead - int(state.step)
    state = steps.advance(*how, given, state, missing)
    done = not ar_frames.STEPS.is_open(filler.model.ar, sampler, state)
    end = int(state.length_B.max()) if done else known + wanted
    if end > known:
      codes_BxTxK[:, known:end] = filler.fill(state, codes_BxTxK, known)[:, known:end]
    mask_BxT = np.arange(known, end)[None] < np.asarray(state.length_B)[:, None]
    yield Tokens(codes_BxTxK[:, known:end].copy(), mask_BxT), state.ended_B
    known, wanted = end, sizes.block


class _Filler(NamedTuple):
  """Fills in the other codebooks of the frames so far.

  Attributes:
    model: a `Valle`.
    sampler: how to draw.
    inputs: parameters of the NAR, a key a row, text and prompt.
    pace: of the rows, while they have not ended.
  """

  model: Any
  sampler: ArSampler
  inputs: tuple[Any, ...]
  pace: Pace

  def fill(self, state: ar_frames.State, codes_BxTxK: Any, known: int) -> np.ndarray:
    """Returns the codes; the first `known` frames are as they are given."""
    most = self.sampler.max_frames
    size = autoregressive.size_for(int(state.length_B.max()), most)
    codes_BxTxK = jnp.asarray(codes_BxTxK[:, :size])
    codes_BxTxK = codes_BxTxK.at[:, :, 0].set(state.code_BxT[:, :size])
    frames = codes_BxTxK, jnp.arange(size)[None] < state.length_B[:, None]
    pace = self._pace(state.ended_B | (state.step == most), frames[1])
    given = *self.inputs, frames, pace, known
    draw = autoregressive.nar_draw(self.sampler)
    return np.asarray(autoregressive.fill(self.model.nar, draw, *given))

  def _pace(self, done_B, mask_BxT):
    """Returns the row's own pace where it has ended, else what is known of it.

    There are more frames to come, so that it is at most what it were without them.
    """
    _, _, (_, text_mask_BxS), (_, mask_BxP) = self.inputs
    mask_BxN = jnp.concatenate([mask_BxP, mask_BxT], axis=1)
    own = own_pace(text_mask_BxS, mask_BxN, *self.pace[:2])
    open_rate_B = jnp.minimum(own.rate_B, self.pace.rate_B)
    return own._replace(rate_B=jnp.where(done_B, own.rate_B, open_rate_B))
