"""Generates by VALL-E: codebook 0 frame after frame, then the others level by level."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.slm import ar_frames, incremental, nar, sampling
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.incremental import Generated
from jaxcodec.slm.positions import own_pace
from jaxcodec.types import Tokens

# The other codebooks are filled in at one of so many lengths: a short utterance does
# not pay for the longest, and few programs are compiled.
_LENGTHS = 8


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
) -> Generated:
  """Speaks texts, in the voices and rooms of the prompts where there are any.

  Neither padding nor the other rows change what a row gives. Codebook 0 is one jitted
  call, which ends when every row has; the others are a second one. With aligned
  positions a row goes at its prompt's pace, without a prompt at the model's.

  Args:
    model: a `Valle`.
    params: its parameters.
    rng: a key, or keys_B to reproduce rows in other batches (row b of a single key
      has `fold_in(rng, b)`).
    text_BxS: text symbols: those of the prompt, then those to speak.
    text_mask_BxS: the valid ones; a row without any is only a filler and stays empty.
    prompt: codes of the prompt's speech, which the generated ones go on from.
    prompt_symbols_B: int32, how many of the spoken symbols are the prompt's.
    sampler: how to draw.

  Raises:
    ValueError: prompts of another number of rows or codebooks, or, with aligned
      positions, without the number of their symbols.
  """
  sampler = sampler or ArSampler()
  rows, text = text_BxS.shape[0], (text_BxS, text_mask_BxS)
  prompt = incremental.check_prompt(prompt, rows, model.spec.num_codebooks)
  pace = incremental.known_pace(model, prompt[1], prompt_symbols_B)
  key_B = rng if rng.shape else sampling.row_keys(rng, rows)
  ar_key_B, nar_key_B = sampling.split(key_B)
  code_BxT, ended_B, length_B = ar_frames.speak(
    model.ar, sampler, params["ar"], ar_key_B, text, prompt, pace
  )
  size = size_for(int(length_B.max()), sampler.max_frames)
  codes_BxTxK = with_levels(code_BxT[:, :size], model.spec.num_codebooks)
  frames = codes_BxTxK, jnp.arange(size)[None] < length_B[:, None]
  pace = own_pace(text_mask_BxS, jnp.concatenate([prompt[1], frames[1]], 1), *pace[:2])
  given = params["nar"], nar_key_B, text, prompt, frames, pace
  codes_BxTxK = fill(model.nar, nar_draw(sampler), *given)
  return Generated(Tokens(codes_BxTxK, frames[1]), ended_B, length_B)


fill = jax.jit(nar.fill_levels, static_argnums=0)


def nar_draw(sampler: ArSampler) -> nar.Draw:
  """Returns how the sampler draws the other codebooks."""
  top = sampler.top_k, sampler.top_p
  return nar.Draw(sampler.nar_temperature, *top, sampler.nar_choice)


def with_levels(code_BxT: jax.Array, books: int) -> jax.Array:
  """Returns codebook 0 with others, which aren't known, behind it, (B, T, K)."""
  return jnp.pad(code_BxT[:, :, None], ((0, 0), (0, 0), (0, books - 1)))


def size_for(length: int, most: int) -> int:
  """Returns at which of a few lengths up to `most` so many frames are filled in."""
  step = -(-most // _LENGTHS)
  return min(most, step * max(1, -(-length // step)))
