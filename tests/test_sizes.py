"""Parameters and multiply-adds of a codec's parts."""

import pytest

from jaxcodec import presets
from jaxcodec.build.sizes import part_sizes


def test_sizes_of_dac_are_those_of_the_original():
  """The original's parameters, counted in PyTorch; its quantiser's by hand."""
  found = part_sizes({"codec": presets.preset("dac_16khz")})
  counts = {part: size["parameters"] for part, size in found.items()}
  expected = {"encoder": 21_521_536, "quantizer": 319_680, "decoder": 52_334_690}
  assert counts == expected
  # Codes need each codebook's projection down and its distances. Projections up, one a
  # codebook in the original, are folded into a product that doesn't grow with time.
  down, distances, up = 12 * 1024 * 8, 12 * 1024 * 8, 12 * 8 * 1024
  macs = found["quantizer"]["macs_per_second"]
  assert 50 * (down + distances) <= macs < 50 * (down + distances + up)


def test_sizes_of_vocos_on_running_means():
  found = part_sizes({"codec": presets.preset("encodecq_vocos")})
  assert found["quantizer"]["parameters"] == 8 * 1024 * 128
  distances = 50 * 8 * 1024 * 128
  assert found["quantizer"]["macs_per_second"] == distances
  # A convolution of 7 frames, two layers a block, and magnitudes and phases.
  frame = 7 * 128 * 512 + 8 * 2 * 512 * 1536 + 512 * (1280 + 2)
  assert found["decoder"]["macs_per_second"] == pytest.approx(50 * frame, rel=0.1)
