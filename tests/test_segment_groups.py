"""Long clips by a codec of segments: some at a time give what all give at once."""

import api_helpers
import numpy as np
import pytest

from jaxcodec.api import CodecModel
from jaxcodec.codecs.segments import Segments
from jaxcodec.inference import codec as inference_codec


@pytest.mark.parametrize("stride", [36, 15])
@pytest.mark.parametrize("N", [253, 255, 288, 291, 325, 400])
def test_segments_of_a_long_clip_are_coded_some_at_a_time(N, stride, monkeypatch):
  """Groups give what all segments give at once, also where three of them overlap."""
  codec, variables = api_helpers.toy(segments=Segments(40, stride), normalize=True)
  audio_N = np.random.default_rng(N).standard_normal(N).astype(np.float32)
  whole = CodecModel(codec, variables).encode(audio_N)
  expected = CodecModel(codec, variables).decode(whole)
  monkeypatch.setattr(inference_codec, "_LONG_SAMPLES", 260)
  for group in (112, 250):
    monkeypatch.setattr(inference_codec, "_GROUP", group)
    model = CodecModel(codec, variables)
    tokens = model.encode(audio_N)
    for name in ("codes_BxTxK", "mask_BxT"):
      np.testing.assert_array_equal(getattr(tokens, name), getattr(whole, name))
    np.testing.assert_allclose(tokens.gain_BxS, whole.gain_BxS, rtol=1e-6)
    np.testing.assert_allclose(model.decode(tokens), expected, atol=1e-5)
