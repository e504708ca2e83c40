import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.build.codec import make_codec
from jaxcodec.build.fields import ConfigError
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.segments import (
  Segments,
  cut_frames,
  join_frames,
  merge_stacks,
  normalize_segments,
)
from jaxcodec.nn.elu import elu
from jaxcodec.nn.lstm import lstm
from jaxcodec.nn.padding import pad_frames
from jaxcodec.quantizers.euclidean import EmaRVQ

HOP, K, V, D = 6, 3, 16, 8
compiled_fast = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
STEREO = dict(channels=2, norm="time_group_norm", causal=False, lstm_layers=0)


def _noise(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _mirrored(x_TxC, left, right, stride):
  """Pads one item by the original's algorithm, with zeros until it can be mirrored."""
  right += -len(x_TxC) % stride
  missing = max(0, max(left, right) + 1 - len(x_TxC))
  x_TxC = np.pad(x_TxC, ((0, missing), (0, 0)))
  padded = np.pad(x_TxC, ((left, right), (0, 0)), mode="reflect")
  return padded[: len(padded) - missing]


@pytest.mark.parametrize("left,right,stride", [(6, 0, 1), (3, 2, 4), (2, 3, 5)])
def test_each_item_is_mirrored_about_its_own_end(left, right, stride):
  T, C = 20, 2
  x, valid = _noise(T, T, C), np.arange(1, T + 1)
  padded = jax.jit(pad_frames, static_argnums=(1, 2, 3))(x, left, right, stride, valid)
  assert padded.shape == (T, left + T + right, C)
  for item, row, length in zip(x, padded, valid, strict=True):
    expected = _mirrored(item[:length], left, right, stride)
    np.testing.assert_array_equal(row[: len(expected)], expected)


def test_elu_and_its_gradient():
  x = np.array([-90.0, -3.0, -1e-4, 0.0, 2.0], np.float32)
  np.testing.assert_allclose(elu(x), np.where(x > 0, x, np.expm1(x)), atol=1e-7)
  slope = jax.grad(lambda x: elu(x).sum())(x)
  np.testing.assert_allclose(slope, np.where(x > 0, 1, np.exp(x)), atol=1e-7)


def test_lstm_has_the_gradient_of_its_scan():
  inputs, weight, target = _noise(6, 12, 2), _noise(12, 3, seed=1), _noise(6, 3, 2)

  def gradient(function, *args):
    return jax.grad(lambda *a: (function(*a) * target).sum(), (0, 1))(*args)

  @compiled_fast
  def both(*args):  # the other one is the scan without its own gradient
    return gradient(lstm, *args), gradient(lstm.fun, *args)

  for ours, expected in zip(*both(inputs, weight), strict=True):
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lstm_layers", [0, 2])
def test_fresh_latents_are_as_large_as_the_audio_and_vary(lstm_layers):
  """Otherwise a constant outgrows what tells frames apart, and all get one code."""
  encoder = SeanetEncoder(width=8, latent_dim=64, lstm_layers=lstm_layers)
  audio_BxNx1 = 0.05 * _noise(4, 8000, 1)
  made = compiled_fast(lambda key, x: encoder.init_with_output(key, x)[0])
  z_TxD = np.asarray(made(jax.random.key(0), audio_BxNx1)).reshape(-1, 64)
  varying = np.sqrt(z_TxD.var(0).mean()) / audio_BxNx1.std()
  constant = np.sqrt((z_TxD.mean(0) ** 2).mean()) / audio_BxNx1.std()
  assert 1 < varying < 5 and constant < varying / 2


@pytest.fixture(scope="module", params=["causal", "segmented stereo"])
def codec_and_variables(request):
  style, options = ({}, ())
  if request.param != "causal":
    style, options = STEREO, (Segments(60, 57), True)
  encoder = SeanetEncoder(2, (2, 3), latent_dim=D, **style)
  decoder = SeanetDecoder(8, (3, 2), **style)
  codec = Codec(encoder, EmaRVQ(D, K, V), decoder, 1000, *options)
  x = jnp.zeros((1, HOP, codec.num_channels))
  shapes = jax.eval_shape(codec.init, jax.random.key(0), x)
  rng = np.random.default_rng(0)

  def drawn(path, leaf):
    value = rng.standard_normal(leaf.shape) * (0.1 if leaf.ndim == 1 else 1)
    is_gain = path[-1].key == "scale" and leaf.ndim == 1
    return (value + is_gain).astype(leaf.dtype)

  return codec, jax.tree_util.tree_map_with_path(drawn, shapes)


def test_a_padded_batch_gives_each_item_as_if_alone(codec_and_variables):
  codec, variables = codec_and_variables
  lengths = [130, 54]  # 54 is a whole number of frames in one segment
  x = _noise(2, 130, codec.num_channels)
  x[1, 54:] = np.nan

  @compiled_fast
  def round_trip(x, length_B=None):
    tokens = codec.apply(variables, x, length_B, method="encode")
    return tokens, codec.apply(variables, tokens, method="decode")

  (tokens, audio), (alone, expected) = (
    round_trip(x, np.array(lengths)),
    round_trip(x[1:, :54]),
  )
  assert len(np.unique(tokens.codes_BxTxK)) > V // 2
  assert tokens.codes_BxTxK.shape[1] == codec.num_frames(130)
  frames = codec.num_frames(54)
  assert alone.mask_BxT.all() and tokens.mask_BxT[1].sum() == frames
  np.testing.assert_array_equal(tokens.codes_BxTxK[1, :frames], alone.codes_BxTxK[0])
  np.testing.assert_allclose(audio[1, :54], expected[0], atol=1e-5)
  assert not audio[1, 54:].any()


def test_gradients_do_not_see_padding(codec_and_variables):
  codec, variables = codec_and_variables
  params, length = variables["params"], jnp.array([15])
  x = _noise(1, 24, codec.num_channels)
  z = _noise(1, 4, D)

  @compiled_fast
  def gradient(x, z):
    def loss(params):
      latent = codec.encoder.apply({"params": params["encoder"]}, x, length)
      y = codec.decoder.apply({"params": params["decoder"]}, z, jnp.array([3]))
      return (latent[:, :3] ** 2).sum() + (y[:, : 3 * HOP] ** 2).sum()

    return jax.grad(loss)(params)

  clean = gradient(x, z)
  x[:, 15:], z[:, 3:] = np.nan, np.nan
  jax.tree.map(np.testing.assert_array_equal, gradient(x, z), clean)


def test_frames_of_segments_lie_one_after_another():
  segments = Segments(length=6, stride=5)
  x = jnp.arange(1.0, 13).reshape(1, 12, 1)
  (whole, whole_valid), (last, last_valid) = jax.jit(segments.cut)(x)
  assert whole_valid is None and last_valid is None
  np.testing.assert_array_equal(last, [[[[11], [12]]]])
  stack = merge_stacks([whole, last])
  joined = jax.jit(segments.join)(stack, np.array([[6, 6, 2]]))
  np.testing.assert_array_equal(joined[:, :12], x)
  frames_BxT = join_frames([jnp.arange(6).reshape(1, 2, 3), jnp.array([[[6]]])], 7)
  stacks = cut_frames(frames_BxT, 3)
  np.testing.assert_array_equal(stacks[0], [[[0, 1, 2], [3, 4, 5]]])
  np.testing.assert_array_equal(stacks[1], [[[6]]])


def test_a_last_segment_of_more_than_half_is_with_the_others():
  ((stack, valid),) = Segments(length=6, stride=5).cut(jnp.ones((1, 9, 1)))
  np.testing.assert_array_equal(valid, [[6, 4]])
  np.testing.assert_array_equal(stack[0, :, :, 0], [[1] * 6, [1, 1, 1, 1, 0, 0]])
  (frames,) = cut_frames(jnp.arange(5).reshape(1, 5), 3)
  np.testing.assert_array_equal(frames, [[[0, 1, 2], [3, 4, 0]]])


def test_the_segment_before_a_very_short_one_may_be_short_itself():
  segments, x = Segments(length=6, stride=4), jnp.ones((2, 9, 1))
  (_, whole_valid), (_, last_valid) = segments.cut(x)
  np.testing.assert_array_equal(whole_valid, [[6, 5]] * 2)
  assert last_valid is None
  (_, whole_valid), (_, last_valid) = segments.cut(x, jnp.array([9, 3]))
  np.testing.assert_array_equal(whole_valid, [[6, 5], [3, 0]])
  np.testing.assert_array_equal(last_valid, [[1], [0]])


def test_levels_are_those_of_the_mono_mix_of_valid_samples():
  x = _noise(1, 2, 5, 2)
  y, gain_BxS = jax.jit(normalize_segments)(x, np.array([[5, 3]]))
  expected = [np.sqrt((x[0, s, :n].mean(-1) ** 2).mean()) for s, n in ((0, 5), (1, 3))]
  np.testing.assert_allclose(gain_BxS[0], expected, rtol=1e-5)
  np.testing.assert_allclose(y * gain_BxS[..., None, None], x, rtol=1e-5)


PARTS = {
  "dac": (dict(name="dac", width=2, latent_dim=D), dict(name="dac", width=8)),
  "seanet": (
    dict(name="seanet", width=2, latent_dim=D, lstm_layers=0),
    dict(name="seanet", width=8, lstm_layers=0),
  ),
  "seanet_lstm": (
    dict(name="seanet", width=2, latent_dim=D, lstm_layers=1, residual_layers=2),
    dict(name="seanet", width=8, lstm_layers=1, true_skip=True, final_tanh=True),
  ),
}
QUANTIZERS = {"factorized_rvq": dict(codebook_dim=4), "ema_rvq": {}}


@pytest.mark.parametrize(
  "encoder,quantizer,decoder", list(itertools.product(PARTS, QUANTIZERS, PARTS))
)
def test_all_mixes_fit_together(encoder, quantizer, decoder):
  codec = make_codec({"codec": _config(encoder, quantizer, decoder)})
  x = jax.ShapeDtypeStruct((2, 20, 1), jnp.float32)
  length_B = jax.ShapeDtypeStruct((2,), jnp.int32)

  def round_trip(x, length_B):
    (y, _), variables = codec.init_with_output(jax.random.key(0), x)
    tokens = codec.apply(variables, x, length_B, method="encode")
    return tokens, codec.apply(variables, tokens, method="decode"), y

  tokens, decoded, y = jax.eval_shape(round_trip, x, length_B)
  assert tokens.codes_BxTxK.shape == (2, 4, K) and tokens.mask_BxT.shape == (2, 4)
  assert decoded.shape == (2, 4 * HOP, 1) and y.shape == x.shape


def _config(encoder="seanet", quantizer="ema_rvq", decoder="seanet", **fields):
  return dict(
    encoder=dict(PARTS[encoder][0], strides=(2, 3)),
    quantizer=dict(
      name=quantizer, num_codebooks=K, codebook_size=V, **QUANTIZERS[quantizer]
    ),
    decoder=dict(PARTS[decoder][1], strides=(3, 2)),
    sample_rate=1000,
    **fields,
  )


def test_segments_by_config():
  segments = dict(seconds=0.3, overlap=0.05)
  codec = make_codec({"codec": _config(segments=segments, normalize=True)})
  assert codec.segments == Segments(300, 285) and codec.normalize
  assert codec.num_frames(300) == 50 + 3 and codec.num_frames(285) == 48


BAD_FIELDS = {
  "encoder.channels": (2, "codec.decoder has a number of channels of 1"),
  "encoder.norm": ("layer_norm", "codec.encoder: norm must be one of"),
  "decoder.norm": ("time_group_norm", "codec.decoder: norm .* cannot be causal"),
  "decoder.pad_mode": ("zeros", "codec.decoder: pad_mode must be one of"),
  "decoder.width": (6, "codec.decoder: width must be a multiple of 4"),
  "encoder.strides": ((2, 0), "codec.encoder: strides must be positive"),
  "segments.overlap": (-0.5, "codec.segments: segments of 300 samples must start"),
}


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_bad_fields(field):
  value, match = BAD_FIELDS[field]
  config = _config(segments=dict(seconds=0.3, overlap=0.05))
  part, name = field.split(".")
  config[part][name] = value
  with pytest.raises(ConfigError, match=match):
    make_codec({"codec": config})
