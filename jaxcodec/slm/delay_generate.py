"""Generates in the delay pattern: whole utterances, or block after block."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.slm import delay_frames, delay_model, incremental, sampling, steps
from jaxcodec.slm.ar_choice import DelaySampler
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
  prompt: Tokens | None = None,
  prompt_symbols_B: jax.Array | None = None,
  sampler: DelaySampler | None = None,
) -> Generated:
  """Speaks texts, in the voices and rooms of the prompts where there are any.

  Neither padding nor the other rows change what a row gives. It is one jitted call,
  which ends when every row has. For the arguments and what is raised see
  `autoregressive.generate`; `sampler.nar_temperature` is that of the codebooks above 0.

  Args:
    model: a `Delay`.

  Raises:
    ValueError: also guidance of a model that was trained without `text_dropout`.
  """
  sampler, text = sampler or DelaySampler(), (text_BxS, text_mask_BxS)
  inputs = _inputs(model, sampler, rng, text, prompt, prompt_symbols_B)
  found = delay_frames.speak(model.model, sampler, params, *inputs)
  codes_BxTxK, ended_B, length_B = found
  mask_BxT = jnp.arange(sampler.max_frames)[None] < length_B[:, None]
  return Generated(Tokens(codes_BxTxK, mask_BxT), ended_B, length_B)


def generate_blocks(
  model: Any,
  params: Any,
  rng: jax.Array,
  text_BxS: jax.Array,
  text_mask_BxS: jax.Array,
  *,
  prompt: Tokens | None = None,
  prompt_symbols_B: jax.Array | None = None,
  sampler: DelaySampler | None = None,
  sizes: BlockSizes,
) -> Iterator[tuple[Tokens, jax.Array]]:
  """Speaks texts, and gives the codes of a block while the next is not yet spoken.

  But for rounding they are the codes of `generate`. A frame is known when the last
  codebook has reached it, so that nothing has to be seen ahead of a block:
  `sizes.ahead` is of no use here.

  Args:
    model, params, rng, text_BxS, text_mask_BxS, prompt, prompt_symbols_B, sampler: as
      of `generate`, and what that raises.
    sizes: of the blocks.

  Returns:
    An iterator over the next frames of all rows, and which rows have ended by
    themselves so far.
  """
  sampler, text = sampler or DelaySampler(), (text_BxS, text_mask_BxS)
  inputs = params, *_inputs(model, sampler, rng, text, prompt, prompt_symbols_B)
  return _blocks(model.model, sampler, inputs, sizes)


def _blocks(model, sampler, inputs, sizes):
  how = delay_frames.STEPS, model, sampler
  given, state = steps.begin(*how, *inputs)
  extra = delay_model.extra_steps(model.num_codebooks)
  known, done, wanted = 0, False, sizes.first
  while not done:
    missing = known + wanted + extra - int(state.step)
    state = steps.advance(*how, given, state, missing)
    done = not delay_frames.STEPS.is_open(model, sampler, state)
    end = int(state.length_B.max()) if done else known + wanted
    codes_BxTxK = np.asarray(delay_frames.frames_of(state))[:, known:end]
    mask_BxT = np.arange(known, end)[None] < np.asarray(state.length_B)[:, None]
    yield Tokens(codes_BxTxK, mask_BxT), state.ended_B
    known, wanted = end, sizes.block


def _inputs(model, sampler, rng, text, prompt, prompt_symbols_B):
  """Returns a key a row, the texts, the prompts and the pace to speak at."""
  model.check_sampler(sampler)
  rows = text[0].shape[0]
  prompt = incremental.check_prompt(prompt, rows, model.spec.num_codebooks)
  pace = incremental.known_pace(model, prompt[1], prompt_symbols_B)
  key_B = rng if rng.shape else sampling.row_keys(rng, rows)
  return key_B, text, prompt, pace
