"""Speaks in the delay pattern, step after step: a code of every codebook each."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.nn import kv_cache
from jaxcodec.slm import (
  ar_choice,
  delay_model,
  incremental,
  sampling,
  steps,
  text_guidance,
)
from jaxcodec.slm.ar_choice import DelaySampler
from jaxcodec.slm.delay_model import DelayModel
from jaxcodec.slm.incremental import Masked
from jaxcodec.slm.options import is_set
from jaxcodec.slm.positions import Pace
from jaxcodec.slm.steps import Steps


class Given(NamedTuple):
  """What stays the same while rows are spoken.

  Attributes:
    params: of the model, `incremental.unstacked`.
    keys: a key a row for codebook 0, and one for the others.
    text: (text_BxS, text_mask_BxS); with guidance, rows without a text follow.
    prompt: (codes_BxPxK, mask_BxP).
    pace: of the rows of `text`.
    known_BxM: which slots of the cache text and prompt fill, of the rows of `text`.
  """

  params: Any
  keys: tuple[jax.Array, jax.Array]
  text: Masked
  prompt: Masked
  pace: Pace
  known_BxM: jax.Array


class State(NamedTuple):
  """What was spoken so far, and how to go on.

  Attributes:
    step: number of steps; codebook k is k frames behind.
    scores_BxKxV: of the next one.
    cache: of the model.
    codes_BxNxK: the steps' codes, with N the most that there can be.
    recent_BxW: the last codes of codebook 0, for the rules against repetition.
    ended_B: whether codebook 0 of a row has ended.
    length_B: its frames.
  """

  step: jax.Array
  scores_BxKxV: jax.Array
  cache: kv_cache.Cache
  codes_BxNxK: jax.Array
  recent_BxW: jax.Array
  ended_B: jax.Array
  length_B: jax.Array


def most_steps(model: DelayModel, sampler: DelaySampler) -> int:
  """Returns how many steps there can be."""
  return sampler.max_frames + delay_model.extra_steps(model.num_codebooks)


def _begin(model, sampler, params, key_B, text, prompt, pace) -> tuple[Given, State]:
  rows, size, books = key_B.shape[0], most_steps(model, sampler), model.num_codebooks
  ended_B = ~text[1].any(1)
  params = incremental.unstacked(model, params)
  delayed = delay_model.delay(*prompt, model.codebook_size)
  # Steps behind the prompt's last frame are fed one by one, with what is drawn.
  known = delayed[:, : prompt[1].shape[1]], prompt[1]
  if _is_guided(sampler):
    text, known, pace = text_guidance.beside_none(text, known, pace)
  reader = incremental.Reader(model, params, text, pace, size)
  scores, cache, known_BxM = reader.read(*known)
  state = State(
    step=jnp.int32(0),
    scores_BxKxV=_guided(scores, sampler),
    cache=cache,
    codes_BxNxK=jnp.zeros((rows, size, books), jnp.int32),
    recent_BxW=jnp.full((rows, sampler.repetition_window), -1, jnp.int32),
    ended_B=ended_B,
    length_B=jnp.zeros((rows,), jnp.int32),
  )
  keys = sampling.split(key_B)
  return Given(params, keys, text, prompt, pace, known_BxM), state


def _speak_step(model, sampler, reader, given, state) -> State:
  rows, books, nothing = len(state.ended_B), model.num_codebooks, model.codebook_size
  at_BxK = jnp.broadcast_to(state.step - jnp.arange(books)[None], (rows, books))
  first_key_B, rest_key_B = given.keys
  first_B = ar_choice.choose(
    state.scores_BxKxV[:, 0], state.recent_BxW, first_key_B, state.step, sampler
  )
  open_B = ~state.ended_B & (state.step < sampler.max_frames)
  ended_B = state.ended_B | (open_B & (first_B == nothing))
  length_B = state.length_B + (open_B & ~ended_B)
  drawn_BxK = jnp.concatenate(
    [first_B[:, None], _draw_rest(state, rest_key_B, sampler)], axis=1
  )
  drawn_BxK = jnp.where(at_BxK < length_B[:, None], drawn_BxK, nothing)
  of_prompt_BxK = _of_prompt(given.prompt, at_BxK, nothing)
  codes_Bx1xK = jnp.where(at_BxK < 0, of_prompt_BxK, drawn_BxK)[:, None]
  fed = text_guidance.twice(codes_Bx1xK) if _is_guided(sampler) else codes_Bx1xK
  scores, cache = reader.advance(state.cache, fed, given.known_BxM, state.step)
  at = 0, state.step, 0
  return State(
    step=state.step + 1,
    scores_BxKxV=_guided(scores, sampler),
    cache=cache,
    codes_BxNxK=jax.lax.dynamic_update_slice(state.codes_BxNxK, codes_Bx1xK, at),
    recent_BxW=jnp.concatenate([state.recent_BxW[:, 1:], first_B[:, None]], axis=1),
    ended_B=ended_B,
    length_B=length_B,
  )


def _is_guided(sampler):
  return is_set(sampler.guidance, 1)


def _guided(scores, sampler):
  """Returns the scores to draw from, (B, K, V)."""
  if not _is_guided(sampler):
    return scores
  return text_guidance.guide(scores, sampler.guidance)


def _draw_rest(state, key_B, sampler):
  """Draws a code for every codebook but 0, (B, K - 1), which has rules of its own."""
  rows, books = state.scores_BxKxV.shape[:2]
  if books == 1:
    return jnp.zeros((rows, 0), jnp.int32)
  step_key_B = jax.vmap(jax.random.fold_in, (0, None))(key_B, state.step)
  return sampling.draw(
    state.scores_BxKxV[:, 1:, :-1],
    sampling.frame_keys(step_key_B, books)[:, 1:],
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


def _is_open(model, sampler, state):
  """Returns whether a row has codes still to come, of any codebook."""
  extra = delay_model.extra_steps(model.num_codebooks)
  known_B = (state.length_B == 0) | (state.step >= state.length_B + extra)
  has_room = state.step < most_steps(model, sampler)
  return has_room & ~(state.ended_B & known_B).all()


STEPS = Steps(_begin, _speak_step, _is_open, most_steps)


@functools.partial(jax.jit, static_argnums=0)
def speak(
  model: DelayModel,
  sampler: DelaySampler,
  params: Any,
  key_B: jax.Array,
  text: Masked,
  prompt: Masked,
  pace: Pace,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Speaks until every row has ended, or as many frames as there may be.

  Args:
    model: the transformer.
    sampler: how to draw.
    params: the model's parameters.
    key_B: a key a row.
    text: (text_BxS, text_mask_BxS).
    prompt: (codes_BxPxK, mask_BxP).
    pace: of the rows.

  Returns:
    Codes (B, T, K) with T = `max_frames`, 0 on invalid frames; which rows ended; their
    lengths.
  """
  inputs = params, key_B, text, prompt, pace
  state = steps.speak_all(STEPS, model, sampler, *inputs)
  return frames_of(state), state.ended_B, state.length_B


@jax.jit
def frames_of(state: State) -> jax.Array:
  """Returns the codes of all frames, (B, T, K), 0 behind the end of a row."""
  codes_BxTxK = delay_model.undo_delay(state.codes_BxNxK)
  mask_BxT = jnp.arange(codes_BxTxK.shape[1])[None] < state.length_B[:, None]
  return jnp.where(mask_BxT[:, :, None], codes_BxTxK, 0)
