"""One program draws with all values of an option, as if compiled for each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.slm import ar_choice, autoregressive, decode, sampling
from jaxcodec.slm.ar_choice import ArSampler, DelaySampler
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.nar import Draw
from jaxcodec.slm.options import is_set

ARS = (
  {"temperature": 0.7},
  {"temperature": 1.6, "top_p": 0.6, "repetition_penalty": 1.3},
  {"temperature": 0.5, "top_p": 0.9, "repetition_penalty": 2.0},
  {"repetition_limit": 0.3, "nar_temperature": 0.4},
)


def _choices(sampler):
  """Twenty tokens of a row each, by one program for all samplers like this one."""
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(64, 20)) * 2, jnp.float32)
  recent = jnp.asarray(rng.integers(-1, 19, (64, 10)), jnp.int32)
  return logits, recent, sampling.row_keys(jax.random.key(1), 64), jnp.int32(3)


choose = jax.jit(ar_choice.choose)


@pytest.mark.parametrize("options", ARS)
def test_a_number_given_when_run_draws_as_one_compiled_in(options):
  sampler = ArSampler(**options)
  inputs = _choices(sampler)
  compiled_in = jax.jit(lambda *given: ar_choice.choose(*given, sampler))
  np.testing.assert_array_equal(choose(*inputs, sampler), compiled_in(*inputs))


def test_another_value_is_no_other_program_and_another_choice():
  traced = []

  @jax.jit
  def chosen(inputs, sampler):
    traced.append(sampler)
    return ar_choice.choose(*inputs, sampler)

  tokens = {}
  for temperature in (0.2, 0.9, 5.0):
    sampler = ArSampler(temperature=temperature, top_p=0.9)
    tokens[temperature] = np.asarray(chosen(_choices(sampler), sampler))
  assert len(traced) == 1
  assert (tokens[0.2] != tokens[5.0]).mean() > 0.3
  greedy = ArSampler(temperature=0.0)
  found = chosen(_choices(greedy), greedy)
  assert len(traced) == 2
  logits, recent, *_ = _choices(greedy)
  np.testing.assert_array_equal(found, jnp.argmax(logits, 1))


@pytest.mark.parametrize(
  "options",
  [
    ArSampler(
      max_frames=9, nar_temperature=0.5, nar_choice="mean", repetition_limit=0.1
    ),
    DelaySampler(guidance=1.5, temperature=0.0),
    IterativeSampler(steps=(3, 1), guidance_prompt=2.0),
    Draw(0.5, 3, 0.9, "mean"),
  ],
)
def test_options_come_out_of_a_program_as_they_went_in(options):
  out = jax.jit(lambda given: given)(options)
  assert type(out) is type(options)
  for field in dataclasses.fields(options):
    before, after = getattr(options, field.name), getattr(out, field.name)
    assert after == pytest.approx(before) if is_number(before) else after == before


def is_number(value):
  return isinstance(value, float)


@pytest.mark.parametrize("zero", [0, 0.0, np.float32(0), np.float64(0)])
def test_an_option_is_off_by_whatever_number_says_so(zero):
  assert not is_set(zero, 0)
  assert jax.tree.leaves(ArSampler(temperature=zero)) == []


def test_the_samplers_of_programs_are_those_of_calls():
  """Defaults are neither lost nor checked again inside, where they are arrays."""
  plan = decode.schedule(IterativeSampler(steps=(2,), choice_noise=0.0), 2)
  inside = jax.jit(lambda sampler: decode.schedule(sampler, 2))(
    IterativeSampler(steps=(2,), choice_noise=0.0)
  )
  for name, values in plan.items():
    np.testing.assert_allclose(inside[name], values, err_msg=name)
  sampler = ArSampler(nar_temperature=0.3, top_k=4, top_p=0.5)
  assert autoregressive.nar_draw(sampler) == Draw(0.3, 4, 0.5, "draw")
