"""Codebook 0 of VALL-E, frame after frame."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.nn import kv_cache
from jaxcodec.slm import ar_choice, incremental, steps
from jaxcodec.slm.ar import ArModel
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.incremental import Masked
from jaxcodec.slm.positions import Pace
from jaxcodec.slm.steps import Steps


class Given(NamedTuple):
  """What stays the same while rows are spoken.

  Attributes:
    params: of the model, `incremental.unstacked`.
    key_B: a key a row.
    text: (text_BxS, text_mask_BxS).
    pace: of the rows.
    known_BxM: which slots of the cache text and prompt fill.
  """

  params: Any
  key_B: jax.Array
  text: Masked
  pace: Pace
  known_BxM: jax.Array


class State(NamedTuple):
  """What was spoken so far, and how to go on.

  Attributes:
    step: number of frames.
    logits_BxV: of the next one.
    cache: of the model.
    code_BxT: the codes, with T the most that there can be.
    recent_BxW: the last ones, for the rules against repetition.
    ended_B: whether a row has ended.
    length_B: its frames.
  """

  step: jax.Array
  logits_BxV: jax.Array
  cache: kv_cache.Cache
  code_BxT: jax.Array
  recent_BxW: jax.Array
  ended_B: jax.Array
  length_B: jax.Array


def _begin(model, sampler, params, key_B, text, prompt, pace) -> tuple[Given, State]:
  size, rows = sampler.max_frames, key_B.shape[0]
  codes_BxPxK, mask_BxP = prompt
  params = incremental.unstacked(model, params)
  reader = incremental.Reader(model, params, text, pace, size)
  logits_BxV, cache, known_BxM = reader.read(codes_BxPxK[:, :, 0], mask_BxP)
  state = State(
    step=jnp.int32(0),
    logits_BxV=logits_BxV,
    cache=cache,
    code_BxT=jnp.zeros((rows, size), jnp.int32),
    recent_BxW=jnp.full((rows, sampler.repetition_window), -1, jnp.int32),
    ended_B=~text[1].any(1),
    length_B=jnp.zeros((rows,), jnp.int32),
  )
  return Given(params, key_B, text, pace, known_BxM), state


def _speak_frame(model, sampler, reader, given, state) -> State:
  token_B = ar_choice.choose(
    state.logits_BxV, state.recent_BxW, given.key_B, state.step, sampler
  )
  ended_B = state.ended_B | (token_B == model.codebook_size)
  code_Bx1 = jnp.where(ended_B, 0, token_B)[:, None]
  logits_BxV, cache = reader.advance(state.cache, code_Bx1, given.known_BxM, state.step)
  return State(
    step=state.step + 1,
    logits_BxV=logits_BxV,
    cache=cache,
    code_BxT=jax.lax.dynamic_update_slice(state.code_BxT, code_Bx1, (0, state.step)),
    recent_BxW=jnp.concatenate([state.recent_BxW[:, 1:], code_Bx1], axis=1),
    ended_B=ended_B,
    length_B=state.length_B + ~ended_B,
  )


def _is_open(model, sampler, state):
  del model
  return ~state.ended_B.all() & (state.step < sampler.max_frames)


def _most_frames(model, sampler):
  del model
  return sampler.max_frames


STEPS = Steps(_begin, _speak_frame, _is_open, _most_frames)


@functools.partial(jax.jit, static_argnums=0)
def speak(
  model: ArModel,
  sampler: ArSampler,
  params: Any,
  key_B: jax.Array,
  text: Masked,
  prompt: Masked,
  pace: Pace,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Speaks until every row has ended, or as many frames as there may be.

  Args:
    model: the autoregressive half.
    sampler: how to draw.
    params: the model's parameters.
    key_B: a key a row.
    text: (text_BxS, text_mask_BxS).
    prompt: (codes_BxPxK, mask_BxP).
    pace: of the rows.

  Returns:
    Codes (B, T) with T = `max_frames`; which rows ended; their lengths.
  """
  inputs = params, key_B, text, prompt, pace
  state = steps.speak_all(STEPS, model, sampler, *inputs)
  return state.code_BxT, state.ended_B, state.length_B
