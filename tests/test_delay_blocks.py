"""The delay pattern block after block: all codes are those of the whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_delay import (  # noqa: F401 (params is a fixture)
  MODEL,
  _batch,
  params,
  random_params,
)

from jaxcodec.slm import incremental, steps
from jaxcodec.slm.ar_choice import DelaySampler
from jaxcodec.slm.block_sizes import BlockSizes
from jaxcodec.slm.positions import prompt_pace
from jaxcodec.types import Tokens

SAMPLER = DelaySampler(max_frames=14, min_frames=6, nar_temperature=0.7)
SIZES = BlockSizes(first=5, block=3, ahead=2)


def _whole_and_blocks(params, sizes, sampler, prompted, texts=True):  # noqa: F811
  model = dataclasses.replace(MODEL, text_dropout=0.1)  # so that it can be guided
  batch = _batch([4, 2, 3], [6, 5, 0], seed=3)
  batch["text_mask_BxS"] &= texts
  given = dict(sampler=sampler)
  if prompted:
    given["prompt"] = Tokens(batch["codes_BxTxK"], batch["mask_BxT"])
    given["prompt_symbols_B"] = jnp.array([2, 1, 0])
  inputs = params, jax.random.key(0), batch["text_BxS"], batch["text_mask_BxS"]
  whole = model.generate(*inputs, **given)
  return whole, list(model.generate_blocks(*inputs, sizes=sizes, **given))


def _check_equal(whole, blocks):
  """Compares all that a stream gave, and returns the lengths of its blocks."""
  codes, mask = (
    np.concatenate([getattr(tokens, name) for tokens, _ in blocks], axis=1)
    for name in ("codes_BxTxK", "mask_BxT")
  )
  size = mask.shape[1]
  np.testing.assert_array_equal(codes, whole.tokens.codes_BxTxK[:, :size])
  np.testing.assert_array_equal(mask.sum(1), whole.length_B)
  np.testing.assert_array_equal(blocks[-1][1], whole.ended_B)
  assert size == whole.length_B.max()
  return [tokens.mask_BxT.shape[1] for tokens, _ in blocks]


@pytest.mark.parametrize("prompted", [True, False])
@pytest.mark.parametrize("cache", [None, [3, 8, 9, 16]])
def test_blocks_are_the_whole(params, monkeypatch, prompted, cache):  # noqa: F811
  """Rows end at different steps; the third has no text. The cache grows on the way."""
  if cache:
    monkeypatch.setattr(incremental.ops, "cache_sizes", lambda _: cache)
    steps.begin.clear_cache()
  whole, blocks = _whole_and_blocks(params, SIZES, SAMPLER, prompted)
  if cache:
    steps.begin.clear_cache()
  lengths = _check_equal(whole, blocks)
  assert lengths[:2] == [5, 3] and whole.length_B[2] == 0
  assert len(set(whole.length_B.tolist())) == 3


@pytest.mark.parametrize("prompted", [True, False])
def test_one_codebook_has_blocks(prompted):
  """Rows of a prompt beside one without any; greedily, against the same by hand."""
  model = dataclasses.replace(
    MODEL, spec=dataclasses.replace(MODEL.spec, num_codebooks=1)
  )
  batch = _batch([4, 0], [6, 5], seed=3)
  batch["codes_BxTxK"] = batch["codes_BxTxK"][:, :, :1]
  own = random_params(model, batch)
  sampler = dataclasses.replace(SAMPLER, temperature=0.0)
  given = dict(sampler=sampler)
  if prompted:
    given["prompt"] = Tokens(batch["codes_BxTxK"], batch["mask_BxT"])
    given["prompt_symbols_B"] = jnp.array([2, 0])
  inputs = own, jax.random.key(0), batch["text_BxS"], batch["text_mask_BxS"]
  whole = model.generate(*inputs, **given)
  _check_equal(whole, list(model.generate_blocks(*inputs, sizes=SIZES, **given)))
  text = tuple(array[:1] for array in inputs[2:])
  alone = [batch["codes_BxTxK"][:1, : 4 * prompted]]
  pace = prompt_pace(
    jnp.array([2 * prompted]), jnp.array([4 * prompted]), model.symbols_per_frame
  )
  for step in range(int(whole.length_B[0])):
    codes = jnp.concatenate(alone, axis=1)
    y_BxNxD = model.model.apply(
      {"params": own}, *text, codes, jnp.ones(codes.shape[:2], bool), pace
    )
    scores = y_BxNxD[:, -1] @ own["head"][0]
    open_ended = MODEL.spec.codebook_size + (step >= sampler.min_frames)
    alone.append(scores[:, :open_ended].argmax(-1)[:, None, None])
  expected = jnp.concatenate(alone[1:], axis=1)
  np.testing.assert_array_equal(
    whole.tokens.codes_BxTxK[:1, : expected.shape[1]], expected
  )


def test_blocks_are_guided_as_the_whole_is(params):  # noqa: F811
  sampler = dataclasses.replace(SAMPLER, guidance=2.0)
  plain, _ = _whole_and_blocks(params, SIZES, SAMPLER, True)
  whole, blocks = _whole_and_blocks(params, SIZES, sampler, True)
  _check_equal(whole, blocks)
  assert not np.array_equal(whole.tokens.codes_BxTxK, plain.tokens.codes_BxTxK)


def test_nothing_to_say_is_one_empty_block(params):  # noqa: F811
  whole, blocks = _whole_and_blocks(params, SIZES, SAMPLER, True, texts=False)
  assert _check_equal(whole, blocks) == [0]


def test_rows_that_never_end_are_cut(params):  # noqa: F811
  sampler = dataclasses.replace(SAMPLER, min_frames=SAMPLER.max_frames)
  whole, blocks = _whole_and_blocks(params, SIZES, sampler, True)
  assert _check_equal(whole, blocks) == [5, 3, 3, 3]
  assert whole.ended_B.tolist() == [False, False, True]


def test_a_block_waits_for_its_last_codebook_and_no_longer(params, monkeypatch):  # noqa: F811
  taken = []

  def note(*arguments, advance=steps.advance):
    state = advance(*arguments)
    taken.append(int(state.step))
    return state

  monkeypatch.setattr(steps, "advance", note)
  _whole_and_blocks(params, SIZES, SAMPLER, True)
  extra = MODEL.spec.num_codebooks - 1
  assert taken[:2] == [5 + extra, 8 + extra]
