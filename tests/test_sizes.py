"""Parameters and multiply-adds of a codec's parts."""

import jax
import jax.numpy as jnp
import pytest

from jaxcodec import presets
from jaxcodec.build.codec import make_codec
from jaxcodec.build.sizes import part_sizes
from jaxcodec.recipes import experiment


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


def _decoder_parameters(arg):
  config = experiment(arg, codec_name="dac", slm="maskgit")
  codec = make_codec(config)
  latent = jax.ShapeDtypeStruct((1, 4, codec.encoder.output_dim), jnp.float32)
  shapes = jax.eval_shape(codec.decoder.init, jax.random.key(0), latent)
  return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize(("arg", "spread"), [("", 1.02), ("runlocal,", 1.12)])
def test_matched_decoders_have_about_as_many_parameters(arg, spread):
  decoders = ("seanet", "seanet_noncausal", "seanet_lstm", "vocos", "dac")
  arg += "sizes=matched,codec=baseline+"
  counts = [_decoder_parameters(arg + name) for name in decoders]
  assert max(counts) < spread * min(counts)


def test_other_sizes_are_named():
  with pytest.raises(ValueError, match="sizes must be own or matched, got 'big'"):
    experiment("sizes=big", codec_name="dac", slm="maskgit")
  with pytest.raises(ValueError, match="sizes=matched: decoder 'magnitude'"):
    experiment("sizes=matched", codec_name="magnitude_16khz", slm="maskgit")
