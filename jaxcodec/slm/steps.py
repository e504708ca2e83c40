"""Speaks step after step: all steps in one program, or some a call."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxcodec.nn import kv_cache, ops
from jaxcodec.slm import incremental


class Steps(NamedTuple):
  """How a kind of model speaks.

  What stays the same while it does, `given`, has `params`, `text`, `pace` and
  `known_BxM`, which slots of the cache text and prompt fill. The state has a `step`,
  the number of steps so far, and the `cache`.

  Attributes:
    begin: of (model, sampler, params, key_B, text, prompt, pace), gives `given` and the
      state before the first step.
    speak: of (model, sampler, reader, given, state), gives the state after a step.
    is_open: of (model, sampler, state), whether there is more to speak.
    most: of (model, sampler), how many steps there can be.
  """

  begin: Callable[..., tuple[Any, Any]]
  speak: Callable[..., Any]
  is_open: Callable[..., jax.Array]
  most: Callable[..., int]


@functools.partial(jax.jit, static_argnums=(0, 1))
def begin(steps: Steps, model: Any, sampler: Any, *inputs: Any) -> tuple[Any, Any]:
  """Reads texts and prompts, for `advance`; the inputs are those of `Steps.begin`."""
  return steps.begin(model, sampler, *inputs)


def speak_all(steps: Steps, model: Any, sampler: Any, *inputs: Any) -> Any:
  """Speaks until every row has ended, or as many steps as there can be; jittable.

  Returns:
    The last state.
  """
  given, state = steps.begin(model, sampler, *inputs)
  reader, speak = _speaker(steps, model, sampler, given)
  is_open = functools.partial(steps.is_open, model, sampler)
  return reader.speak(is_open, speak, state)


def advance(
  steps: Steps, model: Any, sampler: Any, given: Any, state: Any, number: int
) -> Any:
  """Speaks so many steps more, fewer where there is nothing to follow.

  They are those of `speak_all`: the state has all that the next step hangs on. The
  cache grows as in `incremental.Reader.speak`.
  """
  known, most = given.known_BxM.shape[1], steps.most(model, sampler)
  until = min(int(state.step) + number, most)
  for size in ops.cache_sizes(most):
    if kv_cache.num_slots(state.cache) < known + size:
      state = state._replace(cache=kv_cache.grow(state.cache, known + size))
    if kv_cache.num_slots(state.cache) == known + size:
      state = _advance(steps, model, sampler, given, state, min(until, size))
    if int(state.step) < size or size >= until:
      break
  return state


@functools.partial(jax.jit, static_argnums=(0, 1))
def _advance(steps, model, sampler, given, state, until):
  _, speak = _speaker(steps, model, sampler, given)

  def goes_on(state):
    return steps.is_open(model, sampler, state) & (state.step < until)

  return jax.lax.while_loop(goes_on, speak, state)


def _speaker(steps, model, sampler, given):
  """Returns the reader of what is given, and the function that speaks a step."""
  inputs = given.params, given.text, given.pace, steps.most(model, sampler)
  reader = incremental.Reader(model, *inputs)
  return reader, functools.partial(steps.speak, model, sampler, reader, given)
