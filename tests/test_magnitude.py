"""The codec of magnitudes: its bands, its halves, and whole codecs of any length."""

import jax
import jax.numpy as jnp
import magnitude_helpers
import numpy as np
import pytest

from jaxcodec.api.codec_model import CodecModel
from jaxcodec.build.codec import make_codec, make_preset
from jaxcodec.build.fields import ConfigError
from jaxcodec.codecs.magnitude import MagnitudeDecoder, MagnitudeEncoder
from jaxcodec.codecs.magnitude_features import MagnitudeFeatures
from jaxcodec.codecs.shapes import fold_for_inference
from jaxcodec.nn.griffin_lim import griffin_lim

HOP, SIZES = magnitude_helpers.HOP, magnitude_helpers.SIZES

N_FFT, SUB_HOP = SIZES["n_fft"], SIZES["sub_hop"]


def _noise(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def codec():
  """A codec whose layers are far from their start, where the networks are zero."""
  codec, variables = magnitude_helpers.fresh()
  leaves, tree = jax.tree.flatten(variables["params"])
  params = jax.tree.unflatten(tree, [x + 0.1 * _noise(*x.shape) for x in leaves])
  return codec, {**variables, "params": params}


def test_bands_are_bins_below_and_a_ratio_above():
  features = MagnitudeFeatures()
  assert features.num_bands == 93
  bins = np.eye(features.num_bins, dtype=np.float32)[None]
  # One bin of 1 gives its share of each band; the floor adds 1e-5 to each of 321.
  shares = features.bands(bins)[0] ** (1 / features.power)
  np.testing.assert_allclose(shares.sum(0), 1, atol=4e-3)
  middle = (shares * np.arange(features.num_bins)[:, None]).sum(0)
  steps = np.diff(middle)
  assert np.all(np.abs(steps[:20] - 1) < 0.35)
  ratio = steps[45:-2] / middle[45:-3]
  np.testing.assert_allclose(ratio, features.band_ratio, rtol=0.1)
  weights = features.bin_weights()
  assert weights.shape == (features.num_bins,) and abs(weights.mean() - 1) < 1e-5
  # The last band is as many bins wide as the ratio says, the first is one bin.
  expected = features.band_ratio * features.num_bins
  np.testing.assert_allclose(weights[0] / weights[-1], expected, rtol=0.1)


def test_the_envelope_does_not_see_harmonics():
  """Of a smooth spectrum it keeps the shape; a comb of harmonics changes it little."""
  features = MagnitudeFeatures()
  place = np.arange(features.num_bands) / features.num_bands
  smooth = [np.exp(-((place - centre) ** 2) / 0.02) for centre in (0.3, 0.5)]
  comb = 0.3 * (-1.0) ** np.arange(features.num_bands) * smooth[0]
  one, other, combed = (x @ features.envelope(12) for x in (*smooth, smooth[0] + comb))
  assert np.linalg.norm(combed - one) < 0.05 * np.linalg.norm(other - one)


def test_expand_undoes_compress():
  features = MagnitudeFeatures()
  magnitude = jnp.array([0.01, 1.0, 30.0])
  there_and_back = features.expand(features.compress(magnitude))
  np.testing.assert_allclose(there_and_back, magnitude, rtol=1e-4)
  np.testing.assert_allclose(features.compress(jnp.array(32.0)), 32**0.3, rtol=1e-5)
  assert features.expand(jnp.array(-1.0)) == 0
  slope = jax.vmap(jax.grad(lambda c: features.expand(c)))(jnp.array([-1.0, 0.0]))
  assert (slope == 0).all()


def test_the_encoder_starts_as_the_bands():
  encoder = MagnitudeEncoder(**SIZES)
  x = _noise(2, 5 * HOP, 1)
  z, variables = jax.jit(encoder.init_with_output)(jax.random.key(0), x)
  assert z.shape == (2, 5, encoder.output_dim)
  spectrum = np.pad(x[..., 0], ((0, 0), (24, 24)))
  window = np.hanning(N_FFT + 1)[:-1]
  frames = [spectrum[:, t * 16 : t * 16 + N_FFT] * window for t in range(10)]
  magnitude = np.abs(np.fft.rfft(np.stack(frames, 1)))
  expected = encoder.features.bands(jnp.asarray(magnitude, jnp.float32))
  np.testing.assert_allclose(z, expected.reshape(z.shape), atol=1e-4)
  assert not variables["params"]["mean"].any()


def test_the_decoder_sounds_as_its_magnitudes_say():
  decoder = MagnitudeDecoder(**SIZES, iterations=5)
  z = _noise(2, 6, 7)
  variables = jax.jit(decoder.init)(jax.random.key(0), z)
  compressed = decoder.apply(variables, z, method="compressed")
  assert compressed.shape == (2, 12, N_FFT // 2 + 1)
  magnitude = jnp.maximum(compressed, 0) ** (1 / 0.3)
  expected = griffin_lim(magnitude, n_fft=N_FFT, hop=SUB_HOP, iterations=5)
  y = jax.jit(decoder.apply)(variables, z)
  assert y.shape == (2, 6 * HOP, 1) and np.abs(y).max() > 0
  np.testing.assert_allclose(y[..., 0], expected, atol=1e-4 * np.abs(y).max())


def test_padding_has_no_influence(codec):
  model, variables = codec
  x, lengths = _noise(3, 9 * HOP, 1), [9 * HOP, 5 * HOP - 7, 3]
  for row, length in zip(x, lengths, strict=True):
    row[length:] = np.nan

  @jax.jit
  def both(x, length_B=None):
    z, frames_B = x, None
    if length_B is not None:
      frames_B = -(-length_B // HOP)
    z = model.apply(variables, x, length_B, method=lambda m, *a: m.encoder(*a))
    if frames_B is not None:
      beyond = jnp.arange(z.shape[1])[None] >= frames_B[:, None]
      z = jnp.where(beyond[..., None], jnp.nan, z)
    return z, model.apply(variables, z, frames_B, method=lambda m, *a: m.decoder(*a))

  z, y = both(x, jnp.array(lengths))
  assert np.isfinite(y).all()
  for row, length in enumerate(lengths):
    frames = -(-length // HOP)
    alone = np.zeros((1, frames * HOP, 1), np.float32)
    alone[0, :length] = x[row, :length]
    z_alone, y_alone = both(alone)
    np.testing.assert_allclose(z[row, :frames], z_alone[0], atol=1e-4)
    size = np.abs(y_alone).max()
    assert size > 1e-3
    np.testing.assert_allclose(y[row, : frames * HOP], y_alone[0], atol=1e-3 * size)


def test_folded_parameters_give_the_same(codec):
  model, variables = codec
  folded = {**variables, "params": fold_for_inference(model, variables["params"])}
  x = _noise(1, 4 * HOP, 1)
  apply = jax.jit(lambda v: model.apply(v, x)[0])
  y, again = apply(variables), apply(folded)
  np.testing.assert_allclose(again, y, atol=1e-3 * np.abs(y).max())


def test_clips_of_any_length_go_there_and_back(codec):
  model = CodecModel(*codec)
  audio, lengths = 0.1 * _noise(3, 500), [500, 33, 1]
  tokens = model.encode(audio, lengths=lengths)
  assert tokens.num_frames() == [-(-n // HOP) for n in lengths]
  y = model.decode(tokens)
  assert y.shape == (3, 500, 1) and np.isfinite(y).all()
  alone = model.encode(audio[1, :33])
  np.testing.assert_array_equal(alone.codes_BxTxK[0], tokens.codes_BxTxK[1, :2])
  assert not y[1, 33:].any() and y[1, :33].any()


def test_a_training_step_reaches_every_parameter(codec):
  model, variables = codec

  def loss(params):
    y, quantized = model.apply({**variables, "params": params}, _noise(1, 4 * HOP, 1))
    return (y**2).sum() + quantized.losses["commitment"]

  grads = jax.jit(jax.grad(loss))(variables["params"])
  assert all(np.isfinite(g).all() and g.any() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize("kind", [MagnitudeEncoder, MagnitudeDecoder])
def test_rematerialised_and_bfloat16_halves_have_the_same_parameters(kind):
  inputs = jax.ShapeDtypeStruct((1, HOP, 1), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  plain, other = (
    jax.eval_shape(kind(**SIZES, **fields).init_with_output, key, inputs)
    for fields in ({}, dict(remat=True, dtype=jnp.bfloat16))
  )
  assert plain == other


def test_the_preset_has_three_million_parameters():
  codec = make_preset("magnitude_16khz")
  shapes = jax.eval_shape(codec.init, jax.random.key(0), jnp.zeros((1, 320, 1)))
  count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))
  assert 3.0e6 < count < 3.2e6


@pytest.mark.parametrize(
  "half,field,match",
  [
    ("encoder", dict(hop=40), "hop must be a multiple of sub_hop = 16, got 40"),
    ("encoder", dict(hop=64), "codec.decoder has a hop of 32, but"),
    ("encoder", dict(power=0.0), "codec.encoder: power must be above 0"),
    ("encoder", dict(band_ratio=1.5), "band_ratio must be between 0 and 1"),
    ("decoder", dict(n_fft=63), "codec.decoder: n_fft must be even"),
    ("decoder", dict(sub_hop=0), "sub_hop must be positive"),
    ("decoder", dict(iterations=0), "iterations must be positive"),
    ("decoder", dict(depth=0), "codec.decoder.depth must be a positive integer"),
  ],
)
def test_what_cannot_be_is_one_error(half, field, match):
  with pytest.raises(ConfigError, match=match):
    make_codec({"codec": magnitude_helpers.config(**{half: field})})
