import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.build.codec import make_codec
from jaxcodec.build.fields import ConfigError
from jaxcodec.codecs.vocoder import MelFeatures, Vocoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.nn import dsp
from jaxcodec.nn.istft import istft
from jaxcodec.porting import vocos as porting

WIDTH, MLP, DEPTH, N_FFT, HOP, MELS = 12, 20, 2, 32, 8, 6
BOOKS = (2, 4, 8)


def _decoder(padding="same", **settings):
  return VocosDecoder(WIDTH, MLP, DEPTH, N_FFT, HOP, padding, **settings)


def _noise(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module", params=["center", "same"])
def vocoder(request):
  """Returns a vocoder with random weights, as fresh blocks do almost nothing."""
  mel = MelFeatures(8_000, N_FFT, HOP, MELS, request.param)
  model = Vocoder(mel, _decoder(request.param))
  variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 40)))
  leaves, tree = jax.tree.flatten(variables)
  leaves = [x + 0.3 * _noise(*x.shape) for x in leaves]
  return model, jax.tree.unflatten(tree, leaves)


@pytest.mark.parametrize("n_fft,hop", [(64, 16), (60, 16), (60, 30)])
@pytest.mark.parametrize("padding", ["center", "same"])
def test_istft_undoes_stft(n_fft, hop, padding):
  x = _noise(2, 12 * hop)
  pad = n_fft // 2 if padding == "center" else (n_fft - hop) // 2

  @jax.jit
  def there_and_back(x):
    padded = dsp.reflect_pad(x, pad)
    spectrum = dsp.stft(padded, n_fft=n_fft, hop=hop, center=False)
    return istft(*spectrum, n_fft=n_fft, hop=hop, padding=padding)

  np.testing.assert_allclose(there_and_back(x), x, atol=1e-5)


def test_a_padded_batch_gives_each_item_as_if_alone(vocoder):
  model, variables = vocoder
  x, lengths = _noise(3, 98), [98, 45, 9]
  for row, length in zip(x, lengths, strict=True):
    row[length:] = np.nan
  copy = jax.jit(model.apply)
  y = copy(variables, x, jnp.array(lengths))
  assert y.shape == (3, 96) and np.isfinite(y).all()
  for row, length in enumerate(lengths):
    samples = length // HOP * HOP
    alone = copy(variables, x[row : row + 1, :length])
    assert np.abs(alone).max() > 0.01
    np.testing.assert_allclose(y[row, :samples], alone[0], atol=1e-5)
    assert not y[row, samples:].any()


@pytest.mark.parametrize("vocoder", ["same"], indirect=True)
def test_padding_has_no_gradient(vocoder):
  model, variables = vocoder
  z = _noise(1, 9, MELS)
  z[:, 5:] = np.nan

  def total(variables, z):
    y = model.apply(variables, z, jnp.array([5]), method="decode")
    return (y**2).sum()

  grads, dz = jax.jit(jax.grad(total, (0, 1)))(variables, z)
  assert all(np.isfinite(g).all() and g.any() for g in jax.tree.leaves(grads))
  assert dz[:, :5].any(-1).all() and not dz[:, 5:].any()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("padding,lost", [("same", 0), ("center", 1)])
def test_shapes(dtype, padding, lost):
  decoder = _decoder(padding, dtype=dtype, bandwidth_codebooks=BOOKS)
  z = jax.ShapeDtypeStruct((2, 5, 7), jnp.float32)
  y, variables = jax.eval_shape(decoder.init_with_output, jax.random.key(0), z)
  assert (y.shape, y.dtype) == ((2, (5 - lost) * HOP, 1), jnp.float32)
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
  norms = variables["params"]["backbone"]["norm"]
  assert norms["scales"].shape == norms["shifts"].shape == (len(BOOKS), WIDTH)


@pytest.mark.parametrize("vocoder", ["same"], indirect=True)
def test_bfloat16_is_near_float32(vocoder):
  model, variables = vocoder
  z = _noise(1, 6, MELS)
  variables = {"params": variables["params"]["decoder"]}
  exact, rough = (
    jax.jit(_decoder(dtype=dtype).apply)(variables, z)
    for dtype in (jnp.float32, jnp.bfloat16)
  )
  error = np.abs(exact - rough).max() / np.abs(exact).max()
  assert 1e-5 < error < 0.1


def test_the_start_is_the_originals():
  decoder = VocosDecoder(160, 99, 2, N_FFT, HOP)
  variables = jax.jit(decoder.init)(jax.random.key(0), jnp.zeros((1, 3, 50)))
  backbone, head = (variables["params"][name] for name in ("backbone", "head"))
  block = backbone["convnext_1"]
  assert set(backbone) == {
    "embed",
    "norm",
    "convnext_0",
    "convnext_1",
    "final_layer_norm",
  }
  for layer in (backbone["embed"], block["dwconv"], block["pwconv1"]):
    assert abs(np.std(layer["kernel"]) - 0.02) < 2e-3
    assert not layer["bias"].any()
  assert (block["gamma"] == 0.5).all()
  bound = 160**-0.5
  assert 0.9 * bound < np.abs(head["out"]["kernel"]).max() <= bound
  assert np.abs(head["out"]["bias"]).max() <= bound


def test_no_number_of_codebooks_means_the_most():
  decoder = VocosDecoder(WIDTH, MLP, 1, N_FFT, HOP, bandwidth_codebooks=BOOKS)
  z = _noise(1, 4, 5)
  variables = jax.jit(decoder.init)(jax.random.key(0), z)
  scales = variables["params"]["backbone"]["norm"]["scales"]
  variables["params"]["backbone"]["norm"]["scales"] = scales + _noise(*scales.shape)
  apply = jax.jit(decoder.apply, static_argnames="num_codebooks")
  default, least, most = (
    apply(variables, z, num_codebooks=n) for n in (None, BOOKS[0], BOOKS[-1])
  )
  np.testing.assert_array_equal(default, most)
  assert not np.allclose(default, least)
  with pytest.raises(ValueError, match=r"conditioned on \(2, 4, 8\).*got 3"):
    decoder.apply(variables, z, num_codebooks=3)


@pytest.mark.parametrize(
  "fields,match",
  [
    (dict(n_fft=33), "n_fft must be even"),
    (dict(hop=20), "hop must be 1 to n_fft // 2 = 16"),
    (dict(hop=7), "hop must be even"),
    (dict(padding="valid"), "padding must be one of"),
    (dict(depth=0), "depth must be positive"),
    (dict(bandwidth_codebooks=(4, 2)), "must be ascending"),
  ],
)
def test_bad_fields(fields, match):
  with pytest.raises(ValueError, match=match):
    VocosDecoder(**{"n_fft": N_FFT, "hop": HOP, **fields})


def test_bad_vocoders_and_audio():
  with pytest.raises(ValueError, match="one hop and padding"):
    Vocoder(MelFeatures(8_000, N_FFT, HOP, MELS, "center"), _decoder("same"))
  with pytest.raises(ValueError, match="at least 8 samples, got 7"):
    MelFeatures(8_000, N_FFT, HOP, MELS, "same")(jnp.zeros((1, 7)))


def _codec_config(**decoder):
  return dict(
    codec=dict(
      sample_rate=8_000,
      encoder=dict(name="dac", width=2, strides=(2, 4), latent_dim=5),
      quantizer=dict(name="factorized_rvq", num_codebooks=2, codebook_size=8),
      decoder=dict(
        dict(name="vocos", width=12, mlp_width=20, depth=1, n_fft=32, hop=8), **decoder
      ),
    )
  )


def test_a_codec_with_a_vocos_decoder():
  codec = make_codec(_codec_config())
  x = jnp.zeros((2, 37, 1))
  variables = jax.eval_shape(codec.init, jax.random.key(0), x)

  def round_trip(variables, x):
    tokens = codec.apply(variables, x, method="encode")
    return codec.apply(variables, tokens, method="decode"), codec.apply(variables, x)[0]

  decoded, y = jax.eval_shape(round_trip, variables, x)
  assert decoded.shape == (2, 40, 1) and y.shape == x.shape


@pytest.mark.parametrize(
  "field,match",
  [
    (dict(padding="center"), "codec.decoder.padding must be 'same'"),
    (dict(hop=16), "codec.decoder has a hop of 16, but codec.encoder one of 8"),
    (dict(n_fft=31), "codec.decoder: n_fft must be even"),
    (dict(mlp_width=0), "codec.decoder.mlp_width must be a positive integer"),
  ],
)
def test_a_codec_that_cannot_be(field, match):
  with pytest.raises(ConfigError, match=match):
    make_codec(_codec_config(**field))


def _yaml(name, features, backbone, head="ISTFTHead"):
  """Returns a published `config.yaml` as data."""
  return {
    "feature_extractor": dict(
      class_path=f"vocos.feature_extractors.{name}", init_args=features
    ),
    "backbone": dict(class_path="vocos.models.VocosBackbone", init_args=backbone),
    "head": dict(
      class_path=f"vocos.heads.{head}",
      init_args=dict(dim=64, n_fft=1280, hop_length=320, padding="same"),
    ),
  }


def test_published_configs():
  sizes = dict(input_channels=9, dim=64, intermediate_dim=96, num_layers=3)
  fields = dict(width=64, mlp_width=96, depth=3, n_fft=1280, hop=320, padding="same")
  args = dict(sample_rate=24_000, n_fft=1280, hop_length=320, n_mels=9, padding="same")
  config = _yaml("MelSpectrogramFeatures", args, sizes)
  assert porting.decoder_fields(config) == fields
  mel = porting.mel_fields(config)
  assert Vocoder(MelFeatures(**mel), VocosDecoder(**fields)).mel.n_mels == 9

  args = dict(encodec_model="encodec_24khz", bandwidths=[1.5, 3.0, 6.0, 12.0])
  sizes["adanorm_num_embeddings"] = 4
  config = _yaml("EncodecFeatures", args, sizes)
  fields["bandwidth_codebooks"] = (2, 4, 8, 16)
  assert porting.decoder_fields(config) == fields

  sizes["adanorm_num_embeddings"] = 3
  with pytest.raises(ValueError, match="is 3, but there are 4 bandwidths"):
    porting.decoder_fields(config)
  sizes["dropout"] = 0.1
  with pytest.raises(ValueError, match="backbone: unknown arguments.*dropout"):
    porting.decoder_fields(config)
  other = _yaml("EncodecFeatures", args, sizes, "IMDCTCosHead")
  with pytest.raises(ValueError, match="head.class_path.*ISTFTHead.*IMDCTCosHead"):
    porting.decoder_fields(other)


def test_a_state_dict_on_tokens_is_taken_apart():
  book = np.zeros((6, 3))
  state = {
    "head.out.bias": book[0],
    "feature_extractor.codebook_weights": book,
    "feature_extractor.encodec.encoder.x": book[1],
  }
  found = porting.split_state(state, codebook_size=2)
  assert found.decoder.keys() == {"head.out.bias"}
  assert found.encodec.keys() == {"encoder.x"}
  assert found.codebooks_KxVxD.shape == (3, 2, 3)
  with pytest.raises(ValueError, match="whole codebooks of 4 codes, got 6"):
    porting.split_state(state, codebook_size=4)
