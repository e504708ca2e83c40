"""Presets build, have the originals' sizes, and their parts mix."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec import presets
from jaxcodec.build.codec import make_preset
from jaxcodec.build.fields import ConfigError

MAGNITUDES = ("magnitude_ema", "magnitude_dacq", "magnitude_simvq", "magnitude_fsq")
# Frame rate, codebooks and channels: systems as published, then the study's.
SPECS = {
  "encodec_24khz": (75, 32, 1),
  "encodec_48khz": (150, 16, 2),
  "dac_16khz": (50, 12, 1),
  "dac_24khz": (75, 32, 1),
  "dac_44khz": (44_100 / 512, 9, 1),
  "vocos_encodec_24khz": (75, 16, 1),
  **dict.fromkeys(("magnitude_16khz", *MAGNITUDES), (50, 8, 1)),
}
STUDY = [
  "baseline",
  "baseline_noncausal",
  "encodec",
  "encodecq_vocos",
  "encodecq_dac",
  "dacq_seanet",
  "dacq_vocos",
  "dac",
  "simvq_vocos",
  "fsq_vocos",
  "semantic_vocos",
]
SPECS.update({name: (50, 8, 1) for name in STUDY})
OTHER_RATES = {
  "baseline_25hz": (25, 16, 1),
  "baseline_12.5hz": (12.5, 32, 1),
  "single_vocos": (250, 1, 1),
}
SPECS.update(OTHER_RATES)
STUDY += OTHER_RATES
# Parameters of the original PyTorch models, counted there.
COUNTS = {
  ("encodec_24khz", "encoder"): 7_425_792,
  ("encodec_24khz", "decoder"): 7_426_018,
  ("encodec_48khz", "encoder"): 7_428_336,
  ("encodec_48khz", "decoder"): 7_427_958,
  ("dac_16khz", "encoder"): 21_521_536,
  ("dac_16khz", "quantizer"): 319_680,
  ("dac_16khz", "decoder"): 52_334_690,
  ("vocos_mel_24khz", "decoder"): 13_531_650,
  ("vocos_encodec_24khz", "decoder"): 7_984_258,
}
D = 8
ENCODERS = {
  "dac": dict(name="dac", width=2, strides=(2, 4), latent_dim=D),
  "seanet": dict(name="seanet", width=4, strides=(2, 4), latent_dim=D),
}
QUANTIZERS = {
  "ema": dict(name="ema_rvq", num_codebooks=2, codebook_size=16),
  "factorized": dict(name="factorized_rvq", num_codebooks=2, codebook_size=16),
  "fsq": dict(name="fsq", num_codebooks=2, levels=(4, 4)),
  "semantic": dict(name="semantic_rvq", num_codebooks=2, codebook_size=16),
  "simvq": dict(name="simvq", num_codebooks=2, codebook_size=16),
}
DECODERS = {
  "dac": dict(name="dac", width=8, strides=(4, 2)),
  "seanet": dict(name="seanet", width=8, strides=(4, 2), lstm_layers=0),
  "lstm": dict(name="seanet", width=8, strides=(4, 2), lstm_layers=1),
  "vocos": dict(name="vocos", width=8, mlp_width=12, depth=1, n_fft=16, hop=8),
}


@pytest.mark.parametrize("name", SPECS)
def test_what_a_preset_is(name):
  codec, (frame_rate, num_codebooks, channels) = make_preset(name), SPECS[name]
  spec = codec.spec
  assert (spec.frame_rate, spec.num_codebooks) == (frame_rate, num_codebooks)
  size = 2**16 if name == "single_vocos" else 1024
  assert (spec.codebook_size, codec.num_channels) == (size, channels)
  assert spec.sample_rate == (16_000 if name in STUDY else codec.sample_rate)


def test_every_preset_is_here():
  assert {*SPECS, "vocos_mel_24khz"} == set(presets.PRESETS)


def test_rows_of_the_study_share_one_law_of_dropout_and_losses():
  fields = ("dropout", "dropout_per", "loss_reduction")

  def law(name):
    quantizer = make_preset(name).quantizer
    # Some can do nothing but sum, or have no losses.
    return [getattr(quantizer, field, "sum") for field in fields]

  assert {name: law(name) for name in STUDY} == dict.fromkeys(
    STUDY, [0.5, "item", "sum"]
  )
  assert law("encodec_24khz") == [1.0, "batch", "mean"]
  laws = [law(name) for name in ("magnitude_16khz", *MAGNITUDES[:3])]
  assert laws == 4 * [[0.25, "item", "mean"]]


def test_bitrates():
  rates = {"encodec_24khz": 24_000, "encodec_48khz": 24_000, "dac_16khz": 6_000}
  rates |= dict.fromkeys(("magnitude_16khz", *MAGNITUDES), 4_000)
  for name, rate in {**rates, **dict.fromkeys(STUDY, 4_000)}.items():
    assert make_preset(name).spec.bitrate == rate


@pytest.mark.parametrize("name,part", COUNTS)
def test_parameters_are_as_many_as_the_originals(name, part):
  codec = make_preset(name)
  module = getattr(codec, part)
  if part == "encoder":
    inputs = codec.encoder.hop, codec.num_channels
  elif name == "vocos_mel_24khz":
    inputs = 1, codec.mel.n_mels
  else:
    inputs = 1, codec.encoder.output_dim
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *inputs)))
  leaves = jax.tree.leaves(shapes["params"])
  assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == COUNTS[name, part]


@pytest.mark.parametrize(
  "encoder,quantizer,decoder", list(itertools.product(ENCODERS, QUANTIZERS, DECODERS))
)
def test_every_mix_keeps_its_shapes(encoder, quantizer, decoder):
  codec = make_preset(
    dict(
      sample_rate=1_000,
      encoder=ENCODERS[encoder],
      quantizer=QUANTIZERS[quantizer],
      decoder=DECODERS[decoder],
    )
  )
  x_BxNxC = jax.ShapeDtypeStruct((2, 37, 1), jnp.float32)

  def round_trip(key, x_BxNxC, length_B):
    (y_BxNxC, quantized), variables = codec.init_with_output(key, x_BxNxC)
    tokens = codec.apply(variables, x_BxNxC, length_B, method="encode")
    decoded = codec.apply(variables, tokens, method="decode")
    return y_BxNxC, quantized, tokens, decoded

  length_B = jax.ShapeDtypeStruct((2,), jnp.int32)
  y, quantized, tokens, decoded = jax.eval_shape(
    round_trip, jax.random.key(0), x_BxNxC, length_B
  )
  assert y.shape == (2, 37, 1) and decoded.shape == (2, 40, 1)
  assert tokens.codes_BxTxK.shape == (2, 5, 2) == quantized.codes_BxTxK.shape
  assert tokens.codes_BxTxK.dtype == jnp.int32
  assert tokens.mask_BxT.shape == (2, 5)
  assert quantized.z_BxTxD.shape == (2, 5, D)


def test_fields_beside_a_preset_override_it():
  config = {"preset": "dac", "quantizer": {"num_codebooks": 3}, "sample_rate": 8_000}
  codec = make_preset(config)
  assert (codec.quantizer.num_codebooks, codec.quantizer.codebook_dim) == (3, 8)
  assert codec.sample_rate == 8_000
  other = {"name": "ema_rvq", "num_codebooks": 2, "codebook_size": 64}
  replaced = presets.expand({"preset": "dac", "quantizer": other})
  assert replaced["quantizer"] == other
  assert presets.preset("dac")["quantizer"]["num_codebooks"] == 8


@pytest.mark.parametrize(
  "config,message",
  [
    ("dac_17khz", "there is no preset 'dac_17khz'; there are"),
    ({"preset": "dac", "encodr": {}}, "codec.encodr: unknown"),
    ({"preset": "dac", "decoder": {"strides": (2, 2)}}, "a hop of 4, but"),
    ({"preset": "encodec_48khz", "decoder": {"channels": 1}}, "number of channels"),
    ({"preset": "dac", "quantizer": {"name": "vq"}}, "codec.quantizer.name must be"),
    ({"encoder": {}, "quantizer": {}, "decoder": {}}, "codec.sample_rate is missing"),
    ({"preset": "vocos_mel_24khz", "encoder": {}}, "a vocoder has mel and decoder"),
    (
      {"preset": "encodecq_vocos", "decoder": {"padding": "center"}},
      "codec.decoder.padding must be 'same'",
    ),
  ],
)
def test_what_cannot_be_is_one_error(config, message):
  with pytest.raises(ValueError, match=message) as caught:
    make_preset(config)
  assert isinstance(caught.value, ConfigError) or isinstance(config, str)
