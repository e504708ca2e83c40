"""HuBERT: frames, padding, files, and tokens of its features."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import speech_helpers
from test_configs import DAC_MASKGIT, tiny

from jaxcodec import api, files
from jaxcodec.build.check import check
from jaxcodec.build.fields import ConfigError
from jaxcodec.data.token_store import TokenSource
from jaxcodec.parallel import sharding
from jaxcodec.pipeline import records, tokens
from jaxcodec.pipeline.experiment import Experiment, plain
from jaxcodec.porting import hubert, torch_zip, weight_norm_names
from jaxcodec.porting.table import to_torch
from jaxcodec.semantic import tokenizer
from jaxcodec.semantic.hubert import Hubert
from jaxcodec.semantic.hubert_features import HubertFeatures
from jaxcodec.types import TokenSpec
from jaxcodec.weights import fingerprint

TINY = Hubert(
  16,
  24,
  2,
  2,
  8,
  position_taps=66,
  position_groups=2,
)
CONFIG = {
  "model_type": "hubert",
  "hidden_size": 16,
  "intermediate_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 2,
  "conv_dim": [8] * 7,
  "num_conv_pos_embeddings": 66,
  "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture(scope="module")
def params():
  """Returns parameters that are all of order one."""
  shapes = jax.eval_shape(TINY.init, jax.random.key(0), jnp.zeros((1, 400)))["params"]
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda s: (0.4 * rng.standard_normal(s.shape)).astype(np.float32) + 0.1, shapes
  )


@pytest.fixture(scope="module")
def features(params):
  checksum = fingerprint(params)
  return HubertFeatures(params, TINY, checksum, 16_000, 320, layer=1)


def _noise(*shape, seed=0):
  return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def _save(folder, params, config=None, root="", **more):
  """Writes a folder in transformers' layout."""
  state = to_torch({"params": params}, hubert.RULES, weight_norm_names.PARAMETRIZATIONS)
  state = {root + name: array for name, array in state.items()}
  content = safetensors.numpy.save({**state, **more}, metadata={"format": "pt"})
  files.write_bytes(folder / "model.safetensors", content)
  files.write_json(folder / "config.json", config or CONFIG)
  return folder


def test_frames_are_those_of_the_convolutions():
  model = Hubert()
  assert (model.hop, model.window) == (320, 400)
  for samples in range(400, 2500, 53):
    frames = samples
    for kernel, stride in zip(model.kernels, model.strides, strict=True):
      frames = (frames - kernel) // stride + 1
    assert model.num_frames(samples) == frames
  audio, key = jnp.zeros((2, 1999)), jax.random.key(0)
  shape = jax.eval_shape(TINY.init_with_output, key, audio)[0].shape
  assert shape == (2, TINY.num_frames(1999), 16)


@pytest.mark.parametrize("samples,layer,match", [(399, 1, "400"), (400, 3, "0..2")])
def test_no_such_layer_and_too_little_audio(samples, layer, match):
  with pytest.raises(ValueError, match=match):
    TINY.apply({}, jnp.zeros((1, samples)), layer=layer)


def test_padding_of_any_value_does_not_alter_valid_frames(params):
  run = jax.jit(lambda *args: TINY.apply({"params": params}, *args, layer=1))
  audio_BxN = _noise(2, 1900)
  want = np.asarray(run(audio_BxN[1:, :1203]))
  audio_BxN[0, 1700:], audio_BxN[1, 1203:] = 9, np.nan
  got = np.asarray(run(audio_BxN, jnp.array([1700, 1203])))
  assert want.std() > 0.1 and np.isfinite(got).all()
  np.testing.assert_allclose(got[1:, : want.shape[1]], want, atol=1e-5)


def test_features_are_on_the_codecs_frames(features):
  """Features are HuBERT's frames, the last one repeated, up to the utterance's end."""
  lengths = [1, 319, 320, 321, 1600]
  audio_BxN = np.repeat(_noise(1, 1600), 5, 0)
  got = np.asarray(tokenizer.compute(features, audio_BxN, jnp.array(lengths)))
  assert got.shape == (5, 5, 16)
  for row, length in enumerate(lengths):
    frames = -(-length // 320)
    assert not got[row, frames:].any() and (got[row, :frames].std(-1) > 0.1).all()
  whole = audio_BxN[-1:]
  whole = (whole - whole.mean()) / np.sqrt(whole.var() + 1e-7)
  states = jax.jit(lambda p: TINY.apply({"params": p}, whole, layer=1))(features.params)
  np.testing.assert_allclose(got[-1, :4], states[0], atol=1e-4)
  np.testing.assert_array_equal(got[-1, 4], got[-1, 3])
  wide = features.replace(hop=640)
  wide = tokenizer.compute(wide, audio_BxN[-1:], jnp.array(lengths[-1:]))
  np.testing.assert_allclose(wide[0], got[-1, [1, 3, 3]], atol=1e-5)


def test_features_name_what_cannot_be(features):
  with pytest.raises(ValueError, match="16000 Hz, got 24000"):
    features.replace(sample_rate=24_000)
  with pytest.raises(ValueError, match="0..2, got 9"):
    features.replace(layer=9)


def test_weights_are_read_in_every_spelling(params, tmp_path):
  """Reads both names of weight norms, both file formats, and a recogniser's weights."""
  extra = {"masked_spec_embed": np.zeros(16, np.float32)}
  first = _save(tmp_path / "first", params, **extra)
  head = {"lm_head.weight": np.zeros((3, 16)), "lm_head.bias": np.zeros(3)}
  second = _save(tmp_path / "second", params, root="hubert.", **head)
  state = to_torch({"params": params}, hubert.RULES)
  assert "encoder.pos_conv_embed.conv.weight_g" in state
  third = tmp_path / "third"
  files.write_bytes(third / "pytorch_model.bin", torch_zip.dumps({**state, **extra}))
  files.write_json(third / "config.json", CONFIG)
  for folder in (first, second, third):
    model, found = hubert.load(folder)
    assert model == TINY
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_other_weights_are_named(params, tmp_path):
  batch = _save(tmp_path / "a", params, {**CONFIG, "conv_pos_batch_norm": True})
  match = "/a: not a hubert of a .*conv_pos_batch_norm is True, expected False"
  with pytest.raises(ValueError, match=match):
    hubert.load(batch)
  adapted = _save(tmp_path / "b", params, **{"encoder.adapter.weight": np.zeros(3)})
  with pytest.raises(ValueError, match="(?s)/b: .*encoder.adapter.weight: not a para"):
    hubert.load(adapted)
  with pytest.raises(ValueError, match="(?s)/c: .*layers_2.*: not in the weights"):
    hubert.load(_save(tmp_path / "c", params, {**CONFIG, "num_hidden_layers": 3}))


def test_tokenisers_know_their_weights(features, tmp_path):
  path = tmp_path / "semantic.safetensors"
  frames = [np.asarray(_noise(60, 16))]
  fitted = tokenizer.fit(jax.random.key(0), features, frames, num_tokens=5)
  fitted.save(path)
  loaded = tokenizer.SemanticTokenizer.load(path, features)
  np.testing.assert_array_equal(loaded.centroid_VxD, fitted.centroid_VxD)
  for other in (None, features.replace(layer=2), features.replace(weights_sha256="0")):
    with pytest.raises(ValueError, match="semantic.safetensors: was fitted on the fe"):
      tokenizer.SemanticTokenizer.load(path, other)


def _experiment(**semantic):
  config = plain(tiny(DAC_MASKGIT))
  config["semantic"] = {**config["semantic"], **semantic}
  return Experiment(config, None, None, {}, [], check(config))


def test_an_experiment_knows_weights_by_content(params, tmp_path):
  folder, moved = (_save(tmp_path / name, params) for name in ("here", "there"))
  first, second = (
    _experiment(name="hubert", weights=str(path), layer=1) for path in (folder, moved)
  )
  check(first.config)
  recorded = records.recorded_config(first, "semantic")
  assert recorded == records.recorded_config(second, "semantic")
  assert recorded["hubert"]["weights_sha256"] == fingerprint(params)
  assert str(tmp_path) not in json.dumps(recorded)
  assert records.recorded_config(_experiment(), "semantic") == {"num_clusters": 8}


def test_an_experiment_without_weights_is_refused(tmp_path):
  for weights in (None, str(tmp_path / "absent")):
    with pytest.raises(ConfigError, match="semantic: weights must be.*HuBERT"):
      check(_experiment(name="hubert", weights=weights).config)
  with pytest.raises(ConfigError, match="semantic: .*holds neither model.safe"):
    _ = _experiment(name="hubert", weights=str(tmp_path)).semantic_features


def test_a_language_model_finds_weights_that_moved(params, features, tmp_path):
  gone = dict(name="hubert", num_clusters=5, weights="gone", layer=1)
  run = speech_helpers.write_run(
    tmp_path / "run",
    "maskgit",
    rate=16_000,
    features=features.replace(hop=speech_helpers.HOP),
    semantic=gone,
  )
  with pytest.raises(ValueError, match="got 'gone'; semantic_weights .--semantic-wei"):
    api.load_slm(run)
  others = _save(tmp_path / "others", jax.tree.map(np.negative, params))
  with pytest.raises(ValueError, match="was fitted on .*; semantic_weights"):
    api.load_slm(run, semantic_weights=others)
  moved = _save(tmp_path / "moved", params)
  assert api.load_slm(run, semantic_weights=moved).sample_rate == 16_000


def test_the_tokens_stage_uses_the_features(features, tmp_path):
  clips = [_noise(n, seed=n) for n in (3000, 5001, 640, 1281, 4000)]
  codes = [np.zeros((-(-len(clip) // 320), 2), np.int32) for clip in clips]
  utterance = types.SimpleNamespace(id="a", speaker="b", text="c", seconds=1.0)
  outputs = {tokens.PARAMS: {"sha256": "0"}}
  by_length = {len(clip): code for clip, code in zip(clips, codes, strict=True)}
  experiment = types.SimpleNamespace(
    config={"semantic": {"num_clusters": 4}},
    seed=0,
    spec=TokenSpec(2, 8, 320, 16_000),
    mesh=sharding.make_mesh(),
    split={"train": [0, 1, 2], "valid": [3], "test": [4]},
    source=types.SimpleNamespace(utterances=[utterance] * 5),
    semantic_features=features,
    vocabulary=None,
    text_ids={},
    audio=lambda index: clips[index],
    key=lambda _: jax.random.key(0),
    codec=types.SimpleNamespace(encode=lambda x, _: [by_length[len(c)] for c in x]),
    codec_variables=lambda: {"params": {"encoder": {"x": np.zeros(1)}}},
    done={"codec": types.SimpleNamespace(outputs=outputs)},
  )
  tokens.write_all(experiment, tmp_path)
  fitted = tokenizer.SemanticTokenizer.load(tmp_path / tokens.SEMANTIC, features)
  seen = set()
  source = TokenSource(tmp_path / "train.array_record")
  for index in range(3):
    padded = np.zeros((1, 64 * 320), np.float32)
    padded[0, : len(clips[index])] = clips[index]
    want = fitted.encode(padded, jnp.array([len(clips[index])]))
    got = source[index]["semantic_T"]
    np.testing.assert_array_equal(got, want[0, : len(codes[index])])
    seen |= set(got.tolist())
  assert len(seen) == 4
