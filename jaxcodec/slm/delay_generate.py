"""Generates in the delay pattern: at each step a code of every codebook."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.nn import kv_cache
from jaxcodec.slm import ar_choice, delay_model, incremental, sampling
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.incremental import Generated
from jaxcodec.types import Tokens


class _State(NamedTuple):
  step: jax.Array
  scores_BxKxV: jax.Array
  cache: kv_cache.Cache
  codes_BxNxK: jax.Array
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

  Neither padding nor the other rows change what a row gives. It is one jitted call,
  which ends when every row has. For the arguments and what is raised see
  `autoregressive.generate`; `sampler.nar_temperature` is that of the codebooks above 0.

  Args:
    model: a `Delay`.
  """
  sampler = sampler or ArSampler()
  rows, text = text_BxS.shape[0], (text_BxS, text_mask_BxS)
  prompt = incremental.check_prompt(prompt, rows, model.spec.num_codebooks)
  pace = incremental.known_pace(model, prompt[1], prompt_symbols_B)
  key_B = rng if rng.shape else sampling.row_keys(rng, rows)
  codes_BxTxK, ended_B, length_B = _speak(
    model.model, sampler, params, key_B, text, prompt, pace
  )
  mask_BxT = jnp.arange(sampler.max_frames)[None] < length_B[:, None]
  codes_BxTxK = jnp.where(mask_BxT[:, :, None], codes_BxTxK, 0)
  return Generated(Tokens(codes_BxTxK, mask_BxT), ended_B, length_B)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _speak(model, sampler, params, key_B, text, prompt, pace):
  """Returns codes (B, T, K) with T = `max_frames`; which rows ended; their lengths."""
  frames, books, rows = sampler.max_frames, model.num_codebooks, key_B.shape[0]
  extra, nothing = delay_model.extra_steps(books), model.codebook_size
  params = incremental.unstacked(model, params)
  reader = incremental.Reader(model, params, text, pace, frames + extra)
  codes_BxPxK, mask_BxP = prompt
  delayed = delay_model.delay(codes_BxPxK, mask_BxP, nothing)
  # Steps behind the prompt's last frame are fed one by one, with what is drawn.
  scores_BxKxV, cache, known_BxM = reader.read(
    delayed[:, : mask_BxP.shape[1]], mask_BxP
  )
  first_key_B, rest_key_B = sampling.split(key_B)

  def speak(state):
    at_BxK = jnp.broadcast_to(state.step - jnp.arange(books)[None], (rows, books))
    first_B = ar_choice.choose(
      state.scores_BxKxV[:, 0], state.recent_BxW, first_key_B, state.step, sampler
    )
    open_B = ~state.ended_B & (state.step < frames)
    ended_B = state.ended_B | (open_B & (first_B == nothing))
    length_B = state.length_B + (open_B & ~ended_B)
    drawn_BxK = _draw_rest(state, rest_key_B, sampler).at[:, 0].set(first_B)
    drawn_BxK = jnp.where(at_BxK < length_B[:, None], drawn_BxK, nothing)
    codes_BxK = jnp.where(at_BxK < 0, _of_prompt(prompt, at_BxK, nothing), drawn_BxK)
    codes_Bx1xK = codes_BxK[:, None]
    scores_BxKxV, cache = reader.advance(
      state.cache, codes_Bx1xK, known_BxM, state.step
    )
    at = 0, state.step, 0
    return _State(
      step=state.step + 1,
      scores_BxKxV=scores_BxKxV,
      cache=cache,
      codes_BxNxK=jax.lax.dynamic_update_slice(state.codes_BxNxK, codes_Bx1xK, at),
      recent_BxW=jnp.concatenate([state.recent_BxW[:, 1:], first_B[:, None]], axis=1),
      ended_B=ended_B,
      length_B=length_B,
    )

  def is_open(state):
    done_B = state.ended_B & (state.step >= state.length_B + extra)
    return ~done_B.all()

  start = _State(
    step=jnp.int32(0),
    scores_BxKxV=scores_BxKxV,
    cache=cache,
    codes_BxNxK=jnp.zeros((rows, frames + extra, books), jnp.int32),
    recent_BxW=jnp.full((rows, sampler.repetition_window), -1, jnp.int32),
    ended_B=~text[1].any(1),
    length_B=jnp.zeros((rows,), jnp.int32),
  )
  state = reader.speak(is_open, speak, start)
  return delay_model.undo_delay(state.codes_BxNxK), state.ended_B, state.length_B


def _draw_rest(state, key_B, sampler):
  """Draws a code for every codebook, (B, K); codebook 0 has rules of its own."""
  step_key_B = jax.vmap(jax.random.fold_in, (0, None))(key_B, state.step)
  books = state.scores_BxKxV.shape[1]
  return sampling.draw(
    state.scores_BxKxV[:, :, :-1],
    sampling.frame_keys(step_key_B, books),
    temperature=sampler.nar_temperature,
    top_k=sampler.top_k,
    top_p=sampler.top_p,
  )


def _of_prompt(prompt, at_BxK, nothing):
  """Returns the prompts' codes at frames counted from behind them, (B, K)."""
  codes_BxPxK, mask_BxP = prompt
  if not mask_BxP.shape[1]:
    return jnp.full_like(at_BxK, nothing)
  frame_BxK = mask_BxP.sum(1, keepdims=True) + at_BxK
  inside = jnp.clip(frame_BxK, 0, mask_BxP.shape[1] - 1)
  found = jnp.take_along_axis(codes_BxPxK, inside[:, None], axis=1)[:, 0]
  return jnp.where(frame_BxK >= 0, found, nothing)
