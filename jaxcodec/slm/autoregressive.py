"""Generates by VALL-E: codebook 0 frame after frame, then the others level by level."""

import functools
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from jaxcodec.nn import attention, kv_cache
from jaxcodec.slm import ar_choice, nar, positions, sampling
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.types import Tokens

# The other codebooks are filled in at one of so many lengths: a short utterance does
# not pay for the longest, and few programs are compiled.
_LENGTHS = 8


@flax.struct.dataclass
class Generated:
  """What was spoken, without the prompt.

  Attributes:
    tokens: codes, 0 on invalid frames; at least as many frames as the longest row.
    ended_B: whether the row ended by itself; if not, it was cut at `max_frames`.
    length_B: int32 number of its frames; 0 if it ended at once.
  """

  tokens: Tokens
  ended_B: jax.Array
  length_B: jax.Array


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
  prompt = _prompt(prompt, rows, model.spec.num_codebooks)
  pace = _pace(model, prompt[1], prompt_symbols_B)
  key_B = rng if rng.shape else sampling.row_keys(rng, rows)
  ar_key_B, nar_key_B = sampling.split(key_B)
  code_BxT, ended_B, length_B = _speak(
    model.ar, sampler, params["ar"], ar_key_B, text, prompt, pace
  )
  size = _size(int(length_B.max()), sampler.max_frames)
  mask_BxT = jnp.arange(size)[None] < length_B[:, None]
  draw = nar.Draw(sampler.nar_temperature, sampler.top_k, sampler.top_p)
  frames = code_BxT[:, :size], mask_BxT
  given = text, prompt, frames, pace.prompt_symbols_B
  codes_BxTxK = _fill(model.nar, draw, params["nar"], nar_key_B, *given)
  return Generated(Tokens(codes_BxTxK, mask_BxT), ended_B, length_B)


_fill = jax.jit(nar.fill_levels, static_argnums=(0, 1))


def _size(length: int, most: int) -> int:
  step = -(-most // _LENGTHS)
  return min(most, step * max(1, -(-length // step)))


def _prompt(prompt, rows, books):
  """Returns the prompts' codes and mask; without prompts they have no frames."""
  if prompt is None:
    return jnp.zeros((rows, 0, books), jnp.int32), jnp.zeros((rows, 0), bool)
  shape = prompt.codes_BxTxK.shape
  if (shape[0], shape[2]) != (rows, books):
    raise ValueError(
      f"prompt codes must be (B, T, K) = ({rows}, any, {books}), got {shape}"
    )
  return jnp.asarray(prompt.codes_BxTxK), jnp.asarray(prompt.mask_BxT)


def _pace(model, mask_BxP, prompt_symbols_B):
  """Returns the prompts' pace, or the model's where there is none."""
  if prompt_symbols_B is None:
    if model.positions == "aligned" and mask_BxP.shape[1]:
      raise ValueError("prompt_symbols_B is missing: aligned positions need it")
    prompt_symbols_B = jnp.zeros(mask_BxP.shape[:1], jnp.int32)
  known = jnp.asarray(prompt_symbols_B), mask_BxP.sum(1)
  return positions.prompt_pace(*known, model.symbols_per_frame)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _speak(model, sampler, params, key_B, text, prompt, pace):
  """Speaks codebook 0.

  Returns:
    Codes (B, T) with T = `max_frames`; which rows ended; their lengths.
  """
  size, rows = sampler.max_frames, key_B.shape[0]
  body = kv_cache.unstack_layers(model.transformer, params["transformer"])
  params = params | {"transformer": body}
  logits_BxV, cache, known_BxP = _read(model, params, text, prompt, pace, size)

  def speak(state):
    token_B = ar_choice.choose(
      state.logits_BxV, state.recent_BxW, key_B, state.step, sampler
    )
    ended_B = state.ended_B | (token_B == model.codebook_size)
    code_Bx1 = jnp.where(ended_B, 0, token_B)[:, None]
    place = functools.partial(_place, model.positions, text[1], pace)
    logits_BxV, cache = _advance(model, params, state, code_Bx1, known_BxP, place)
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
  more = lambda state: (state.step < size) & ~state.ended_B.all()  # noqa: E731
  state = jax.lax.while_loop(more, speak, start)
  return state.code_BxT, state.ended_B, state.length_B


def _place(kind, text_mask_BxS, pace, step):
  """Returns the position of the frame at a step of decoding, (B, 1)."""
  frame_Bx1 = (pace.prompt_frames_B + step)[:, None]
  return positions.place_frames(kind, text_mask_BxS, frame_Bx1, pace, begin=True)


def _read(model, params, text, prompt, pace, size):
  """Reads the texts and prompts.

  Returns:
    Scores of the first frame, a cache with room for `size` frames more, and which of
    its slots are valid so far.
  """
  codes_BxPxK, mask_BxP = prompt
  inputs = *text, codes_BxPxK[:, :, 0], mask_BxP, pace
  embedded = model.apply({"params": params}, *inputs, method="embed")
  x_BxNxD, mask_BxN, position_BxN = embedded
  rows, known, width = x_BxNxD.shape
  y_BxNxD, cache = kv_cache.extend(
    model.transformer,
    params["transformer"],
    kv_cache.empty(model.transformer, width, rows, known + size),
    x_BxNxD,
    (attention.causal(mask_BxN, text[0].shape[1]), position_BxN, 0),
  )
  last_B = (mask_BxN * jnp.arange(known)[None]).max(1)
  y_Bx1xD = jnp.take_along_axis(y_BxNxD, last_B[:, None, None], axis=1)
  logits_Bx1xV = model.apply({"params": params}, y_Bx1xD, method="logits")
  return logits_Bx1xV[:, 0], cache, mask_BxN


def _advance(model, params, state, code_Bx1, known_BxP, place):
  """Feeds one frame; returns the scores of the next one and the new cache."""
  rows, size = state.code_BxT.shape
  spoken_BxT = jnp.broadcast_to(jnp.arange(size) <= state.step, (rows, size))
  y_Bx1xD, cache = kv_cache.extend(
    model.transformer,
    params["transformer"],
    state.cache,
    model.apply({"params": params}, code_Bx1, method="embed_codes"),
    (
      jnp.concatenate([known_BxP, spoken_BxT], axis=1)[:, None],
      place(state.step),
      known_BxP.shape[1] + state.step,
    ),
  )
  logits_Bx1xV = model.apply({"params": params}, y_Bx1xD, method="logits")
  return logits_Bx1xV[:, 0], cache
