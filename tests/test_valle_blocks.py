"""Speech block after block: codebook 0 of the whole, the others against recomputing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_valle_generation import (  # noqa: F401 (params is a fixture)
  APPLY,
  END,
  MODEL,
  NOISY,
  _prompt,
  _text,
  params,
)

from jaxcodec.slm import incremental, steps
from jaxcodec.slm.block_sizes import BlockSizes
from jaxcodec.slm.positions import Pace, own_pace, prompt_pace

SAMPLER = dataclasses.replace(NOISY, min_frames=9)
GREEDY_REST = dataclasses.replace(SAMPLER, nar_temperature=0.0)
SIZES = BlockSizes(first=5, block=3, ahead=2)
SYMBOLS = [2, 1]


def _whole_and_blocks(model, params, sizes, sampler=SAMPLER):  # noqa: F811
  (text, mask), prompt = _text([5, 3]), _prompt([3, 2])
  given = dict(prompt=prompt, prompt_symbols_B=jnp.array(SYMBOLS), sampler=sampler)
  key = jax.random.key(5)
  whole = model.generate(params, key, text, mask, **given)
  blocks = model.generate_blocks(params, key, text, mask, sizes=sizes, **given)
  return whole, list(blocks)


def _joined(blocks):
  codes, mask = (
    np.concatenate([getattr(tokens, name) for tokens, _ in blocks], axis=1)
    for name in ("codes_BxTxK", "mask_BxT")
  )
  return codes, mask, np.asarray(blocks[-1][1])


def test_one_block_is_the_whole(params):  # noqa: F811
  model = dataclasses.replace(MODEL, positions="aligned")
  whole, blocks = _whole_and_blocks(model, params, BlockSizes(16, 1, 0))
  codes, mask, ended = _joined(blocks)
  size = mask.shape[1]
  np.testing.assert_array_equal(codes, whole.tokens.codes_BxTxK[:, :size])
  np.testing.assert_array_equal(mask.sum(1), whole.length_B)
  np.testing.assert_array_equal(ended, whole.ended_B)
  assert len(blocks) == 1 and size == whole.length_B.max() > 9


@pytest.mark.parametrize("cache", [None, [3, 8, 9, 16]])
def test_codebook_0_is_that_of_the_whole(params, monkeypatch, cache):  # noqa: F811
  if cache:
    monkeypatch.setattr(incremental.ops, "cache_sizes", lambda _: cache)
    steps.begin.clear_cache()
  whole, blocks = _whole_and_blocks(MODEL, params, SIZES)
  if cache:
    steps.begin.clear_cache()
  codes, mask, ended = _joined(blocks)
  size = mask.shape[1]
  np.testing.assert_array_equal(codes[..., 0], whole.tokens.codes_BxTxK[:, :size, 0])
  np.testing.assert_array_equal(mask.sum(1), whole.length_B)
  np.testing.assert_array_equal(ended, whole.ended_B)
  assert [tokens.codes_BxTxK.shape[1] for tokens, _ in blocks[:2]] == [5, 3]


@pytest.mark.parametrize("positions", ["sequence", "aligned"])
def test_other_codebooks_see_what_is_known_when_a_block_is(params, positions):  # noqa: F811
  """Recomputes each block of a row alone: before it all codes, behind it codebook 0."""
  model = dataclasses.replace(MODEL, positions=positions)
  _, blocks = _whole_and_blocks(model, params, SIZES, GREEDY_REST)
  codes, mask, _ = _joined(blocks)
  row, past, symbols = 0, 3, SYMBOLS[0]
  text = _text([5, 3])[0][row][None]
  text_mask = jnp.ones(text.shape, bool)
  prompt = np.asarray(_prompt([3, 2]).codes_BxTxK)[row]
  length, known = mask[row].sum(), 0
  early = prompt_pace(jnp.array([symbols]), jnp.array([past]), 1.0).rate_B
  for tokens, ended_B in blocks:
    end = known + tokens.codes_BxTxK.shape[1]
    seen = length if ended_B[row] else min(length, end + SIZES.ahead)
    shown = np.full((1, past + seen, 3), END, np.int32)
    shown[0, :past], shown[0, past:, 0] = prompt, codes[row, :seen, 0]
    shown[0, past : past + known] = codes[row, :known]
    at = jnp.ones((1, past + seen), bool)
    pace = own_pace(text_mask, at, jnp.array([symbols]), jnp.array([past]))
    if not ended_B[row] and seen < 16:
      pace = Pace(*pace[:2], jnp.minimum(pace.rate_B, early))
    for level in (1, 2):
      inputs = text, text_mask, shown, at, jnp.array([level]), pace
      logits = APPLY(model, "nar", params, *inputs)
      found = np.asarray(logits[0, past + known :].argmax(-1))
      shown[0, past + known :, level] = found
    np.testing.assert_array_equal(shown[0, past:][known:end], codes[row, known:end])
    known = end
  assert len(blocks) > 3


def test_impossible_blocks_are_named():
  with pytest.raises(ValueError, match="block must be at least 1 frames, got 0"):
    BlockSizes(1, 0, 0)
