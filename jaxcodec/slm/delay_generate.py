"""Generates in the delay pattern: whole utterances, or block after block."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.slm import delay_frames, delay_model, incremental, sampling
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.block_sizes import BlockSizes
from jaxcodec.slm.incremental import Generated
from jaxcodec.types import Tokens


def generate(
  model: Any,
  params: Any,
  rng: jax.Array,
  text_BxS: jax.Array,
  text_mask_BxS: jax.Array,
  *,
  sampler: ArSampler | None = None,
  **prompts: Any,
) -> Generated:
  """Speaks texts, in the voices and rooms of the prompts where there are any.

  Neither padding nor the other rows change what a row gives. It is one jitted call,
  which ends when every row has. For the arguments and what is raised see
  `autoregressive.generate`; `sampler.nar_temperature` is that of the codebooks above 0.

  Args:
    model: a `Delay`.
  """
  sampler, text = sampler or ArSampler(), (text_BxS, text_mask_BxS)
  inputs = _inputs(model, rng, text, **prompts)
  state = delay_frames.speak(model.model, sampler, params, *inputs)
  codes_BxTxK = delay_model.undo_delay(state.codes_BxNxK)
  mask_BxT = jnp.arange(sampler.max_frames)[None] < state.length_B[:, None]
  codes_BxTxK = jnp.where(mask_BxT[:, :, None], codes_BxTxK, 0)
  return Generated(Tokens(codes_BxTxK, mask_BxT), state.ended_B, state.length_B)


def generate_blocks(
  model: Any,
  params: Any,
  rng: jax.Array,
  text_BxS: jax.Array,
  text_mask_BxS: jax.Array,
  *,
  sizes: BlockSizes,
  sampler: ArSampler | None = None,
  **prompts: Any,
) -> Iterator[tuple[Tokens, jax.Array]]:
  """Speaks texts, and gives the codes of a block while the next is not yet spoken.

  They are the codes of `generate`. A frame is known when the last codebook has reached
  it, so that nothing has to be seen ahead of a block: `sizes.ahead` is of no use here.

  Args:
    model: a `Delay`.
    params, rng, text_BxS, text_mask_BxS, sampler, prompts: as of `generate`.
    sizes: of the blocks.

  Yields:
    The next frames of all rows, and which rows have ended by themselves so far.
  """
  sampler, text = sampler or ArSampler(), (text_BxS, text_mask_BxS)
  inputs = _inputs(model, rng, text, **prompts)
  given, state = delay_frames.begin(model.model, sampler, params, *inputs)
  extra, known, wanted = (
    delay_model.extra_steps(model.spec.num_codebooks),
    0,
    sizes.first,
  )
  done = False
  while not done:
    missing = known + wanted + extra - int(state.step)
    state = delay_frames.advance(model.model, sampler, given, state, missing)
    done = not delay_frames.is_open(model.model, sampler, state)
    end = int(state.length_B.max()) if done else known + wanted
    codes_BxTxK = np.asarray(delay_model.undo_delay(state.codes_BxNxK)[:, known:end])
    mask_BxT = np.arange(known, end)[None] < np.asarray(state.length_B)[:, None]
    codes_BxTxK = np.where(mask_BxT[:, :, None], codes_BxTxK, 0)
    yield Tokens(codes_BxTxK, mask_BxT), state.ended_B
    known, wanted = end, sizes.block


def _inputs(model, rng, text, prompt=None, prompt_symbols_B=None):
  """Returns a key a row, the texts, the prompts and the pace to speak at."""
  rows = text[0].shape[0]
  prompt = incremental.check_prompt(prompt, rows, model.spec.num_codebooks)
  pace = incremental.known_pace(model, prompt[1], prompt_symbols_B)
  key_B = rng if rng.shape else sampling.row_keys(rng, rows)
  return key_B, text, prompt, pace
