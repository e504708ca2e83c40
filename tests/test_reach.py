"""Layers see exactly as far as they say."""

import math

import jax
import numpy as np
import pytest

from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.magnitude import MagnitudeDecoder, MagnitudeEncoder
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.nn.lstm import ResidualLstm
from jaxcodec.nn.norm import TimeGroupNorm
from jaxcodec.nn.reach import Reach, reach_of

HALF = dict(width=6, mlp_width=6, depth=1, n_fft=20, hop=20, sub_hop=10)
AHEAD = dict(lstm_layers=0, causal=False)
# Each with frames of its input, of which some see all that they can see.
CODECS = {
  "dac encoder": (DacEncoder(2, (3, 2)), 600),
  "dac decoder": (DacDecoder(4, (2, 3)), 96),
  "dac decoder, short": (DacDecoder(4, (3, 2), exact=False), 96),
  "seanet encoder": (SeanetEncoder(2, (2, 5), lstm_layers=0), 220),
  "seanet decoder": (SeanetDecoder(8, (5, 2), lstm_layers=0), 40),
  "seanet encoder, zeros": (
    SeanetEncoder(2, (5, 3), residual_layers=2, pad_mode="constant", **AHEAD),
    300,
  ),
  "seanet encoder, ahead": (SeanetEncoder(2, (2, 5), **AHEAD), 220),
  "seanet decoder, ahead": (SeanetDecoder(8, (5, 2), **AHEAD), 40),
  "vocos": (VocosDecoder(2, 2, 2, n_fft=20, hop=6), 50),
  "magnitude encoder": (MagnitudeEncoder(**HALF), 400),
  "magnitude decoder": (MagnitudeDecoder(**HALF, iterations=2), 40),
}


PLACED = (MagnitudeEncoder, MagnitudeDecoder)  # in which NaN is a magnitude of 0


def probe(module, frames):
  """Returns the reach, and whether each input frame changes each output frame."""
  channels, rng = 1 if hasattr(module, "output_dim") else 3, np.random.default_rng(0)
  x_BxTxC = rng.standard_normal((1, frames, channels)).astype(np.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), x_BxTxC)
  draw = lambda leaf: rng.normal(0.1, 0.4, leaf.shape).astype(np.float32)  # noqa: E731
  v = jax.tree.map(draw, shapes)
  x_BxTxC, at = np.repeat(x_BxTxC, frames + 1, 0), np.arange(frames)
  x_BxTxC[at, at] = 30 if isinstance(module, PLACED) else np.nan
  y_BxTxC = np.array(jax.jit(module.apply)(v, x_BxTxC))
  changed = ~(y_BxTxC[:-1] == y_BxTxC[-1:]).all(-1)
  return module.apply(v, method=lambda m: m.reach), changed


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_sees_as_far_as_it_says(name):
  module, frames = CODECS[name]
  reach, changed = probe(module, frames)
  outputs = changed.shape[1]
  assert outputs == frames * reach.up // reach.down - reach.missing
  at = np.arange(outputs)
  first = np.maximum(0, (at * reach.down - reach.before) // reach.up)
  end = -(-((at + 1) * reach.down + reach.after) // reach.up)
  end = np.minimum(frames, np.maximum(end, reach.lead))
  assert changed.any(0).all()
  seen_first, seen_end = changed.argmax(0), frames - changed[::-1].argmax(0)
  inside = (end > reach.lead) & (end < frames)  # away from what padding mirrors
  assert inside.sum() > outputs / 4
  if isinstance(module, PLACED):  # windows vanish at their ends
    slack = max(2, frames // 20)
    assert ((seen_first >= first) & (seen_first <= first + slack)).all()
    assert ((seen_end <= end) & (seen_end >= end - slack)).all()
    return
  assert (seen_first >= first).all() and (seen_end <= end).all()
  np.testing.assert_array_equal(seen_first[inside], first[inside])
  np.testing.assert_array_equal(seen_end[inside], end[inside])
  assert seen_end[0] == reach.inputs(1)


def test_what_a_row_of_layers_sees():
  twice = Reach(down=2, before=1, after=0, lead=3)
  assert reach_of([twice, twice]) == Reach(down=4, before=3, after=0, lead=6)
  up = Reach(up=3, before=1, after=2, missing=1)
  assert reach_of([up, Reach.centred(5)]) == Reach(1, 3, 3, 4, missing=1)
  assert reach_of([up, up]) == Reach(up=9, before=4, after=8, missing=4)
  assert up.groups_around == (1, 1) and twice.groups_around == (2, 0)
  with pytest.raises(ValueError, match="halves"):
    reach_of([twice, up])


def test_a_recurrence_sees_all_before_and_a_norm_over_time_all():
  lstm = reach_of([Reach(down=2, before=1), ResidualLstm(1)])
  assert lstm.groups_around == (math.inf, 0) and not lstm.sees_all
  assert reach_of([Reach.centred(3), TimeGroupNorm(), Reach(up=2)]).sees_all
