"""Generates by VALL-E: codebook 0 frame after frame, then the others level by level."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.nn import kv_cache
from jaxcodec.slm import ar_choice, incremental, nar, sampling
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.incremental import Generated
from jaxcodec.types import Tokens

# The other codebooks are filled in at one of so many lengths: a short utterance does
# not pay for the longest, and few programs are compiled.
_LENGTHS = 8


class _State(NamedTuple):
  step: jax.Array
  logits_BxV: jax.Array
  cache: kv_cache.Cache
  code_BxT: jax.Array
  recent_BxW: jax.Array
  ended_B: jax.Array
  length_B: jax.Array


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
  code_BxT, ended_B, length_B = _speak(
    model.ar, sampler, params["ar"], ar_key_B, text, prompt, pace
  )
  size = _size(int(length_B.max()), sampler.max_frames)
  mask_BxT = jnp.arange(size)[None] < length_B[:, None]
  draw = nar.Draw(
    sampler.nar_temperature, sampler.top_k, sampler.top_p, sampler.nar_choice
  )
  frames = code_BxT[:, :size], mask_BxT
  given = text, prompt, frames, pace.prompt_symbols_B
  codes_BxTxK = _fill(model.nar, draw, params["nar"], nar_key_B, *given)
  return Generated(Tokens(codes_BxTxK, mask_BxT), ended_B, length_B)


_fill = jax.jit(nar.fill_levels, static_argnums=(0, 1))


def _size(length: int, most: int) -> int:
  step = -(-most // _LENGTHS)
  return min(most, step * max(1, -(-length // step)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _speak(model, sampler, params, key_B, text, prompt, pace):
  """Speaks codebook 0.

  Returns:
    Codes (B, T) with T = `max_frames`; which rows ended; their lengths.
  """
  size, rows = sampler.max_frames, key_B.shape[0]
  codes_BxPxK, mask_BxP = prompt
  known = codes_BxPxK[:, :, 0], mask_BxP
  params = incremental.unstacked(model, params)
  reader = incremental.Reader(model, params, text, pace, size)
  logits_BxV, cache, known_BxP = reader.read(*known)

  def speak(state):
    token_B = ar_choice.choose(
      state.logits_BxV, state.recent_BxW, key_B, state.step, sampler
    )
    ended_B = state.ended_B | (token_B == model.codebook_size)
    code_Bx1 = jnp.where(ended_B, 0, token_B)[:, None]
    logits_BxV, cache = reader.advance(state.cache, code_Bx1, known_BxP, state.step)
    return _State(
      step=state.step + 1,
      logits_BxV=logits_BxV,
      cache=cache,
      code_BxT=jax.lax.dynamic_update_slice(state.code_BxT, code_Bx1, (0, state.step)),
      recent_BxW=jnp.concatenate([state.recent_BxW[:, 1:], code_Bx1], axis=1),
      ended_B=ended_B,
      length_B=state.length_B + ~ended_B,
    )

  start = _State(
    step=jnp.int32(0),
    logits_BxV=logits_BxV,
    cache=cache,
    code_BxT=jnp.zeros((rows, size), jnp.int32),
    recent_BxW=jnp.full((rows, sampler.repetition_window), -1, jnp.int32),
    ended_B=~text[1].any(1),
    length_B=jnp.zeros((rows,), jnp.int32),
  )
  state = reader.speak(lambda state: ~state.ended_B.all(), speak, start)
  return state.code_BxT, state.ended_B, state.length_B
