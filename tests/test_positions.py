"""Where symbols and frames stand, by hand."""

import numpy as np
import pytest

from jaxcodec.slm import positions
from jaxcodec.slm.valle import Valle
from jaxcodec.types import TokenSpec

# A prompt of 2 symbols in 4 frames, then 3 symbols in 3 frames; begin and end around.
TEXT, PROMPT = np.ones((1, 7), bool), (np.array([2]), np.array([4]))
FRAMES = np.ones((1, 7), bool)


def _symbols(mask_BxT, begin=False, text=TEXT):
  """Returns the aligned positions of frames, in symbols."""
  pace = positions.own_pace(text, mask_BxT, *PROMPT)
  if begin:
    mask_BxT = np.pad(mask_BxT, ((0, 0), (1, 0)), constant_values=True)
  at = positions.place("aligned", text, mask_BxT, pace, begin=begin)
  symbol = at[0, : text.shape[1]].max() / 6
  return np.asarray(at[:, text.shape[1] :]) / symbol


def test_a_frame_stands_where_its_symbol_does():
  # Symbols 1 and 2 have two frames each, half a symbol apart around their middles.
  want = [0.75, 1.25, 1.75, 2.25, 3, 4, 5]
  np.testing.assert_allclose(_symbols(FRAMES)[0], want)
  np.testing.assert_allclose(_symbols(FRAMES, begin=True)[0], [0.25, *want])


def test_padding_moves_nothing():
  text = np.pad(TEXT, ((0, 0), (2, 3)))
  padded = np.insert(FRAMES, 3, False, axis=1)
  got = np.delete(_symbols(padded, text=text), 3, axis=1)
  np.testing.assert_allclose(got, _symbols(FRAMES), rtol=1e-6)


@pytest.mark.parametrize(
  "kind, want", [("sequence", [7, 8, 9, 10]), ("separate", [0, 1, 2, 3])]
)
def test_counts_go_on_or_begin_anew(kind, want):
  mask = np.ones((1, 4), bool)
  pace = positions.own_pace(TEXT, mask)
  for begin in (False, True):
    got = positions.place(kind, TEXT, mask, pace, begin=begin)
    np.testing.assert_array_equal(got, [[*range(7), *want]])


def test_generation_goes_on_at_the_pace_of_the_prompt():
  symbols, frames = np.array([4, 0]), np.array([10, 0])
  pace = positions.prompt_pace(symbols, frames, otherwise=0.25)
  np.testing.assert_allclose(pace.rate_B, [0.4, 0.25])


def test_no_prompt_makes_speech_much_faster_or_slower_than_in_training():
  symbols, frames = np.array([5, 30, 10]), np.array([100, 50, 50])
  pace = positions.prompt_pace(symbols, frames, otherwise=0.25)
  np.testing.assert_allclose(pace.rate_B, [0.25 / 1.6, 0.25 * 1.6, 0.2], rtol=1e-6)


def test_impossible_fields_are_named():
  spec = TokenSpec(2, 8, 320, 16_000)
  with pytest.raises(ValueError, match="positions must be .* got 'absolute'"):
    Valle(spec, 5, positions="absolute")
  with pytest.raises(ValueError, match="position_jitter must be 0 or more, got -1"):
    Valle(spec, 5, position_jitter=-1)
