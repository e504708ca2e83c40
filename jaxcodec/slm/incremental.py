"""Feeds an autoregressive model: what is known at once, then frame by frame."""

import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxcodec.nn import attention, kv_cache, ops
from jaxcodec.slm import positions
from jaxcodec.types import Tokens

# Pairs of an array (B, S) or (B, T, K), and which of its entries are valid.
Masked = tuple[jax.Array, jax.Array]


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


def check_prompt(prompt: Tokens | None, rows: int, books: int) -> Masked:
  """Returns the prompts' codes and mask; without prompts they have no frames.

  Raises:
    ValueError: prompts of another number of rows or codebooks.
  """
  if prompt is None:
    return jnp.zeros((rows, 0, books), jnp.int32), jnp.zeros((rows, 0), bool)
  shape = prompt.codes_BxTxK.shape
  if (shape[0], shape[2]) != (rows, books):
    raise ValueError(
      f"prompt codes must be (B, T, K) = ({rows}, any, {books}), got {shape}"
    )
  return jnp.asarray(prompt.codes_BxTxK, jnp.int32), jnp.asarray(prompt.mask_BxT)


def known_pace(
  model: Any, mask_BxP: jax.Array, prompt_symbols_B: jax.Array | None
) -> positions.Pace:
  """Returns the prompts' pace, or the model's where there is none.

  Raises:
    ValueError: aligned positions, and prompts whose number of symbols is not given.
  """
  if prompt_symbols_B is None:
    if model.positions == "aligned" and mask_BxP.shape[1]:
      raise ValueError("prompt_symbols_B is missing: aligned positions need it")
    prompt_symbols_B = jnp.zeros(mask_BxP.shape[:1], jnp.int32)
  known = jnp.asarray(prompt_symbols_B), mask_BxP.sum(1)
  return positions.prompt_pace(*known, model.symbols_per_frame)


def unstacked(model: Any, params: Any) -> Any:
  """Returns a model's parameters as `Reader` takes them; call it before loops."""
  body = kv_cache.unstack_layers(model.transformer, params["transformer"])
  return {**params, "transformer": body}


class Reader:
  """A model with what it was told: the texts, and the pace to speak them at.

  The model has a `transformer`, the kind of its `positions`, and the methods `embed`,
  `embed_codes` and `logits`.

  Args:
    model: a Flax module.
    params: its parameters, from `unstacked`.
    text: (text_BxS, text_mask_BxS).
    pace: of the rows.
    size: frames behind the prompt that there will be at most.
  """

  def __init__(
    self,
    model: Any,
    params: Any,
    text: Masked,
    pace: positions.Pace,
    size: int,
  ):
    self._model, self._params = model, params
    self._text, self._pace = text, pace
    self._sizes = ops.cache_sizes(size)

  def read(
    self, codes: jax.Array, mask_BxP: jax.Array
  ) -> tuple[jax.Array, kv_cache.Cache, jax.Array]:
    """Reads the texts and prompts.

    Args:
      codes: of the prompts, as `embed` takes them.
      mask_BxP: their valid frames.

    Returns:
      Scores of the first frame, a cache with room for some frames more, and which of
      its slots are valid so far.
    """
    model = self._model
    given = *self._text, codes, mask_BxP, self._pace
    x_BxNxD, mask_BxN, position_BxN = self._apply("embed", *given)
    rows, known, width = x_BxNxD.shape
    y_BxNxD, cache = kv_cache.extend(
      model.transformer,
      self._params["transformer"],
      kv_cache.empty(model.transformer, width, rows, known + self._sizes[0]),
      x_BxNxD,
      (attention.causal(mask_BxN, self._text[0].shape[1]), position_BxN, 0),
    )
    last_B = (mask_BxN * jnp.arange(known)[None]).max(1)
    y_Bx1xD = jnp.take_along_axis(y_BxNxD, last_B[:, None, None], axis=1)
    return self._apply("logits", y_Bx1xD)[:, 0], cache, mask_BxN

  def speak(
    self, is_open: Callable[[Any], jax.Array], speak: Callable[[Any], Any], state: Any
  ) -> Any:
    """Runs `speak` on a state while `is_open`; the cache grows between loops.

    Args:
      is_open: whether there is more to speak, of a state.
      speak: advances by a step.
      state: named tuple with a `step`, 0, and the `cache` that `read` gave.
    """
    known = kv_cache.num_slots(state.cache) - self._sizes[0]
    for size in self._sizes:
      more = functools.partial(_has_room, is_open, size)
      state = state._replace(cache=kv_cache.grow(state.cache, known + size))
      state = jax.lax.while_loop(more, speak, state)
    return state

  def advance(
    self, cache: kv_cache.Cache, codes: jax.Array, known_BxP: jax.Array, step: jax.Array
  ) -> tuple[jax.Array, kv_cache.Cache]:
    """Feeds the frame of a step; returns the scores of the next one and the new cache.

    Args:
      cache: with the frames before.
      codes: of this frame, as `embed_codes` takes them.
      known_BxP: which slots `read` filled.
      step: frames behind the prompt that were fed before.
    """
    rows, known = known_BxP.shape
    size = kv_cache.num_slots(cache) - known
    spoken_BxT = jnp.broadcast_to(jnp.arange(size) <= step, (rows, size))
    y_Bx1xD, cache = kv_cache.extend(
      self._model.transformer,
      self._params["transformer"],
      cache,
      self._apply("embed_codes", codes),
      (
        jnp.concatenate([known_BxP, spoken_BxT], axis=1)[:, None],
        self._place(step),
        known + step,
      ),
    )
    return self._apply("logits", y_Bx1xD)[:, 0], cache

  def _place(self, step):
    """Returns the position of the frame at a step, (B, 1)."""
    kind, text_mask_BxS, pace = self._model.positions, self._text[1], self._pace
    frame_Bx1 = (pace.prompt_frames_B + step)[:, None]
    return positions.place_frames(kind, text_mask_BxS, frame_Bx1, pace, begin=True)

  def _apply(self, method, *inputs):
    return self._model.apply({"params": self._params}, *inputs, method=method)


def _has_room(is_open, size, state):
  return is_open(state) & (state.step < size)
