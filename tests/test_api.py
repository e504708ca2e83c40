import pickle
import subprocess
import sys

import api_helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soxr
from api_helpers import HOP, RATE, K, V

import jaxcodec
from jaxcodec import porting, shipped, weights
from jaxcodec.api import CodecModel, VocoderModel
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.segments import Segments
from jaxcodec.codecs.shapes import silence
from jaxcodec.presets import PRESETS
from jaxcodec.types import Tokens, TokenSpec

LENGTHS = [3, 90, 128, 300, 77, 255, 1]


@pytest.fixture(scope="module")
def model():
  return api_helpers.toy_model()


@pytest.fixture(scope="module")
def audio_BxN():
  noise = np.random.default_rng(0).standard_normal((len(LENGTHS), max(LENGTHS)))
  return noise.astype(np.float32)


def test_importing_the_package_leaves_jax_alone():
  check = (
    "import sys, jaxcodec, jaxcodec.token_file, jaxcodec.cli.main\n"
    "assert not {'jax', 'flax', 'jaxcodec.types'} & set(sys.modules)\n"
    "try: jaxcodec.nothing\nexcept AttributeError: pass"
  )
  subprocess.run([sys.executable, "-c", check], check=True)


def test_many_lengths_are_few_programs_and_each_item_is_as_if_alone(
  audio_BxN, monkeypatch
):
  traced, encode = [], Codec.encode

  def counted(self, x_BxNxC, *args, **kwargs):
    traced.append(x_BxNxC.shape)
    return encode(self, x_BxNxC, *args, **kwargs)

  monkeypatch.setattr(Codec, "encode", counted)
  codec, variables = api_helpers.toy()
  model = CodecModel(codec, variables)
  audio_BxN = audio_BxN.copy()
  for row, length in zip(audio_BxN, LENGTHS, strict=True):
    row[length:] = np.nan
  tokens = model.encode(audio_BxN, lengths=LENGTHS)
  decoded = model.decode(tokens)
  # Buckets of 64, 128 and 256 frames; more lengths would add none.
  assert traced == [(8, n, 1) for n in (128, 256, 512)]
  assert len(np.unique(tokens.codes_BxTxK)) == V
  assert decoded.shape == (len(LENGTHS), max(LENGTHS), 1)
  frames = [-(-length // HOP) for length in LENGTHS]
  np.testing.assert_array_equal(tokens.mask_BxT.sum(-1), frames)
  apply = jax.jit(codec.apply, static_argnames="method")
  for row in (1, 5):
    N, T = LENGTHS[row], frames[row]
    alone = apply(variables, audio_BxN[row, :N][None, :, None], method="encode")
    np.testing.assert_array_equal(tokens.codes_BxTxK[row, :T], alone.codes_BxTxK[0])
    assert not tokens.codes_BxTxK[row, T:].any()
    y_NxC = apply(variables, alone, method="decode")[0, :N]
    np.testing.assert_allclose(decoded[row, :N], y_NxC, atol=1e-6)
    assert not decoded[row, N:].any()


def test_audio_of_any_kind_and_rate(model):
  audio_N = np.sin(np.arange(240) / 5).astype(np.float32) / 2
  expected = model.encode(audio_N)
  assert expected.codes_BxTxK.shape == (1, 120, K)
  assert expected.codes_BxTxK.dtype == np.int32
  whole = np.round(audio_N * 2**15).astype(np.int16)
  for same in (jnp.asarray(audio_N)[None, :, None], audio_N.astype(np.float64)):
    np.testing.assert_array_equal(model.encode(same).codes_BxTxK, expected.codes_BxTxK)
  np.testing.assert_array_equal(
    model.encode(whole).codes_BxTxK, model.encode(whole / 2.0**15).codes_BxTxK
  )
  faster = model.encode(audio_N[:199], sample_rate=2 * RATE)
  resampled_N = soxr.resample(audio_N[:199], 2 * RATE, RATE, quality="HQ")
  np.testing.assert_array_equal(
    faster.codes_BxTxK, model.encode(resampled_N).codes_BxTxK
  )
  assert faster.origin.num_samples_B.tolist() == [199]
  assert faster.origin.sample_rate == 2 * RATE
  assert model.decode(faster).shape == (1, 100, 1)


def test_segments_with_levels_of_their_own(tmp_path, audio_BxN):
  codec, variables = api_helpers.toy(segments=Segments(40, 36), normalize=True)
  model = CodecModel(codec, variables)
  # The segment before the last of 111 samples has 39 of them, 20 frames.
  lengths = [111, 30, 75]
  tokens = model.encode(audio_BxN[:3], lengths=lengths)
  assert tokens.gain_BxS.shape == (3, 4)
  tokens.save(tmp_path / "a.jxc")
  decoded_BxNxC = model.decode(Tokens.load(tmp_path / "a.jxc"))
  apply = jax.jit(codec.apply, static_argnames="method")
  for row, N in enumerate(lengths):
    alone = apply(variables, audio_BxN[row, :N][None, :, None], method="encode")
    T = tokens.num_frames()[row]
    assert T == codec.num_frames(N)
    np.testing.assert_array_equal(tokens.codes_BxTxK[row, :T], alone.codes_BxTxK[0])
    np.testing.assert_array_equal(tokens.mask_BxT[row, :T], alone.mask_BxT[0])
    y_NxC = apply(variables, alone, method="decode")[0, :N]
    np.testing.assert_allclose(decoded_BxNxC[row, :N], y_NxC, atol=1e-5)
  with pytest.raises(ValueError, match=r"expected \(3, 4\) gains .* got none"):
    model.decode(tokens.replace(gain_BxS=None))
  free = tokens.replace(origin=None)
  assert model.num_samples(free) == [codec.num_samples(T) for T in free.num_frames()]


def test_fewer_codebooks_are_a_prefix(model, audio_BxN):
  one = model.encode(audio_BxN[0, :3], num_codebooks=1)
  np.testing.assert_array_equal(
    one.codes_BxTxK, model.encode(audio_BxN[0, :3]).codes_BxTxK[..., :1]
  )
  assert model.decode(one).shape == (1, 3, 1)


X = np.zeros((2, 10), np.float32)


@pytest.mark.parametrize(
  "arguments,message",
  [
    (dict(audio=np.float32(1)), r"shape \(N,\), \(B, N\) or \(B, N, C\), got \(\)"),
    (dict(audio=X[None, None]), r"got \(1, 1, 2, 10\)"),
    (dict(audio=X[:, None]), r"1 channels: .* \(B, N, 1\).*got \(2, 1, 10\)"),
    (dict(audio=X[:, :0]), "must not be empty"),
    (dict(audio=X.astype(np.int32)), "floats in .* or int16, got int32"),
    (dict(audio=X.astype(complex)), "got complex128"),
    (dict(audio=["a"]), "got <U1"),
    (dict(audio="a.wav"), "must be an array, got 'a.wav'; soundfile.read gives"),
    (dict(audio=np.where(np.eye(2, 10) > 0, np.nan, X)), "got NaN .* in item 0"),
    (dict(audio=X + np.inf), "NaN or infinity"),
    (dict(audio=X + 12_000), r"\[-1, 1\], or int16; item 0 reaches 1.2e\+04"),
    (dict(audio=np.zeros((8000, 2))), r"\(8000, 2\) looks like \(N, C\)"),
    (dict(audio=np.zeros((8000, 1))), r"looks like .* a clip of 1 channels"),
    (dict(audio=np.zeros((1, 1, 8000)), channels="average"), r"looks like \(B, C, N\)"),
    (dict(audio=np.zeros((1, 2, 8000)), channels="keep"), r"clips of 2 channels: expe"),
    (dict(audio=X, sample_rate=1), "sample_rate must be 1000 to 1000000, got 1"),
    (dict(audio=X, channels="left"), "channels must be 'average' or 'keep'"),
    (dict(audio=X, sample_rate=0), "sample_rate must be 1000 to 1000000, got 0"),
    (dict(audio=X, sample_rate=8e3), "must be an integer, 1000 to .*, got 8000.0"),
    (dict(audio=X[:, :1], sample_rate=96_000), "too short: 1 samples at 96000"),
    (dict(audio=X, lengths=[5]), "lengths must be 2 integers"),
    (dict(audio=X, lengths=[5, 2.5]), "lengths must be 2 integers"),
    (dict(audio=X, lengths=[5, 11]), "lengths must be 1 to 10"),
    (dict(audio=X, lengths=[0, 5]), "lengths must be 1 to 10"),
    (dict(audio=X, num_codebooks=0), f"num_codebooks must be 1 to {K}, got 0"),
    (dict(audio=X, num_codebooks=K + 1), f"1 to {K}, got {K + 1}"),
  ],
)
def test_bad_audio_is_refused(model, arguments, message):
  with pytest.raises(ValueError, match=message):
    model.encode(**arguments)


CODES, MASK = np.zeros((2, 5, K), np.int32), np.ones((2, 5), bool)


@pytest.mark.parametrize(
  "tokens,message",
  [
    (CODES, "expected jaxcodec.Tokens, got ndarray"),
    (Tokens(CODES[0], MASK), r"integers \(B, T, K\), got int32 \(5, 2\)"),
    (Tokens(CODES + 0.5, MASK), "must be integers .* got float64"),
    (Tokens(CODES[:, :0], MASK[:, :0]), "must be integers"),
    (Tokens(CODES, MASK[:, :4]), r"mask must be bool \(2, 5\), got bool \(2, 4\)"),
    (Tokens(CODES, MASK * 1), "must be bool"),
    (Tokens(CODES, MASK[:, ::-1] & (np.arange(5) > 1)), "must come first"),
    (Tokens(np.zeros((2, 5, K + 1), int), MASK), f"has {K} codebooks, the tokens 3"),
    (Tokens(CODES - 1, MASK), f"codes must be 0 to {V - 1}, got -1 to -1"),
    (Tokens(CODES + V, MASK), f"codes must be 0 to {V - 1}"),
  ],
)
def test_bad_tokens_are_refused(model, tokens, message):
  with pytest.raises(ValueError, match=message):
    model.decode(tokens)


def test_tokens_of_another_codec_are_refused(model, audio_BxN):
  tokens = model.encode(audio_BxN[0, :3])
  other = api_helpers.toy_model(seed=1)
  with pytest.raises(ValueError, match="made with other weights: .*any_weights"):
    other.decode(tokens)
  assert other.decode(tokens, any_weights=True).shape == (1, 3, 1)
  changed = tokens.origin.replace(spec=TokenSpec(K, V, HOP, RATE + 1))
  with pytest.raises(ValueError, match=f"another codec: expected .*=.*{RATE + 1}"):
    model.decode(tokens.replace(origin=changed), any_weights=True)
  longer = tokens.origin.replace(num_samples_B=np.array([99]))
  with pytest.raises(ValueError, match=r"\[2\] frames, but .* give \[50\]"):
    model.decode(tokens.replace(origin=longer))
  assert model.decode(tokens.replace(origin=None)).shape == (1, 4, 1)


def test_fingerprints_are_of_the_values():
  _, variables = api_helpers.toy()
  host = jax.device_get(variables)
  backwards = {"params": dict(reversed(host["params"].items()))}
  assert weights.fingerprint(backwards) == weights.fingerprint(variables)
  _, others = api_helpers.toy(seed=1)
  assert weights.fingerprint(others) != weights.fingerprint(variables)


def test_load(tmp_path, monkeypatch):
  monkeypatch.setitem(PRESETS, "tiny", api_helpers.CONFIG)
  wider = dict(api_helpers.CONFIG["decoder"], width=6)
  monkeypatch.setitem(PRESETS, "wide", dict(api_helpers.CONFIG, decoder=wider))
  workdir = tmp_path / "run"
  variables = api_helpers.save_experiment(workdir)
  file = workdir / "codec" / weights.FILE
  original = tmp_path / "original.pth"
  porting.export_torch(variables, make_preset(api_helpers.CONFIG), original)
  for arguments in (
    ("tiny", file),
    (None, workdir),
    ("tiny", original),
    (None, original),  # whose metadata have the arguments of its model
  ):
    loaded = jaxcodec.load(*arguments)
    assert loaded.fingerprint == weights.token_fingerprint(variables)
    assert loaded.spec == TokenSpec(K, V, HOP, RATE)
  for name in ("tiny", "wide"):
    assert jaxcodec.load(name, "random").sample_rate == RATE
  plain, damaged = tmp_path / "plain.safetensors", tmp_path / "damaged.safetensors"
  weights.save_params(plain, variables)
  damaged.write_bytes(file.read_bytes()[:-50])
  for arguments, error, message in (
    ((), ValueError, "name a preset or weights; with weights: .*speech_16khz.*tiny"),
    (("huge",), ValueError, "no codec 'huge'; with weights: .*published: .*dac_16khz"),
    (("tiny",), ValueError, "no weights of tiny are published: .*weights='random'"),
    ((None, "random"), ValueError, "weights='random' needs a preset"),
    (("huge", "random"), ValueError, "there is no codec 'huge'"),
    ((None, tmp_path / "gone"), FileNotFoundError, "gone"),
    ((None, plain), ValueError, "plain.safetensors does not say which codec"),
    (("wide", plain), ValueError, "doesn't fit the model"),
    (("tiny", damaged), ValueError, "damaged.safetensors"),
  ):
    with pytest.raises(error, match=message):
      jaxcodec.load(*arguments)


def test_a_codec_comes_with_its_weights():
  codec = jaxcodec.load("speech_16khz")
  assert codec.spec == TokenSpec(8, 1024, hop=320, sample_rate=16_000)
  file = shipped.ROOT / "speech_16khz" / weights.FILE
  assert codec.fingerprint == jaxcodec.load(weights=file).fingerprint


def test_a_vocoder_has_features_and_audio(monkeypatch):
  """Compares with the module on each clip alone; the model pads clips to one length."""
  small = dict(
    sample_rate=RATE,
    mel=dict(n_fft=16, hop=4, n_mels=5, padding="center"),
    decoder=dict(
      **dict(name="vocos", width=8, mlp_width=16, depth=1),
      **dict(n_fft=16, hop=4, padding="center"),
    ),
  )
  monkeypatch.setitem(PRESETS, "vocoder", small)
  assert jaxcodec.load("vocoder", "random").sample_rate == RATE
  vocoder = make_preset("vocoder")
  variables = jax.jit(vocoder.init)(jax.random.key(1), silence(vocoder))
  model = VocoderModel(vocoder, variables)
  noise = np.random.default_rng(0).standard_normal(203).astype(np.float32)
  clip, short = model.features(np.stack([noise, noise]), lengths=[203, 90])
  assert clip.shape == (51, 5) and short.shape == (23, 5)
  np.testing.assert_allclose(clip, model.mel(noise[None])[0], atol=1e-4)
  np.testing.assert_allclose(short, model.mel(noise[None, :90])[0], atol=1e-4)
  assert model.decode(clip).shape == (200,)
  alone = vocoder.apply(variables, short[None], method="decode")[0]
  np.testing.assert_allclose(model.decode(short), alone, atol=1e-5)
  for wrong, message in (
    (clip[None], "must be"),
    (clip[:, :4], r"\(T, 5\)"),
    (clip * np.nan, "NaN"),
  ):
    with pytest.raises(ValueError, match=message):
      model.decode(wrong)


def test_features_of_a_clip_that_ends_behind_its_last_frame():
  """Frames are floored without padding, and 64 of them are one of the lengths."""
  mel = dict(n_fft=16, hop=4, n_mels=5, padding="same")
  decoder = dict(name="vocos", width=8, mlp_width=16, depth=1)
  config = dict(mel=mel, decoder=dict(**decoder, n_fft=16, hop=4, padding="same"))
  vocoder = make_preset(dict(sample_rate=RATE, **config))
  variables = jax.jit(vocoder.init)(jax.random.key(1), silence(vocoder))
  model = VocoderModel(vocoder, variables)
  noise_N = np.random.default_rng(0).standard_normal(64 * 4 + 2).astype(np.float32)
  found_TxM = model.features(noise_N)[0]
  assert found_TxM.shape == (64, 5)
  np.testing.assert_allclose(found_TxM, model.mel(noise_N[None])[0], atol=1e-4)


def test_a_codec_pickles(model, audio_BxN):
  copy = pickle.loads(pickle.dumps(model))
  expected, tokens = model.encode(audio_BxN[:1]), copy.encode(audio_BxN[:1])
  np.testing.assert_array_equal(tokens.codes_BxTxK, expected.codes_BxTxK)
  assert tokens.origin.fingerprint == expected.origin.fingerprint
  np.testing.assert_array_equal(copy.decode(tokens), model.decode(expected))
