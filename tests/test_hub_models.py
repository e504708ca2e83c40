"""Each family and our own models, loaded by name from a hub on loopback."""

import json
import subprocess
import sys
import types

import api_helpers
import jax
import numpy as np
import pytest
import soundfile
from hub_server import Hub

import jaxcodec
from jaxcodec import files, presets, token_file, weights
from jaxcodec.api import CodecModel, VocoderModel
from jaxcodec.build.codec import make_preset
from jaxcodec.build.fields import ConfigError
from jaxcodec.cli.main import main
from jaxcodec.pipeline import train_options
from jaxcodec.porting import described, export_torch
from jaxcodec.porting.families import family_of
from jaxcodec.types import TokenSpec

RATE, D, V = 8_000, 8, 16
SEANET = dict(name="seanet", width=4, lstm_layers=1)
VOCOS = dict(name="vocos", width=D, mlp_width=12, depth=1, n_fft=32, hop=8)
ENCODEC = dict(
  sample_rate=RATE,
  normalize=False,
  encoder=dict(SEANET, strides=(2, 4), latent_dim=D),
  quantizer=dict(name="ema_rvq", num_codebooks=4, codebook_size=V),
  decoder=dict(SEANET, width=16, strides=(4, 2)),
)
# The presets that have published weights, at small sizes.
SMALL = {
  "dac_16khz": api_helpers.CONFIG,
  "encodec_24khz": ENCODEC,
  "vocos_mel_24khz": dict(
    sample_rate=RATE,
    mel=dict(n_fft=64, hop=16, n_mels=8, padding="center"),
    decoder=dict(VOCOS, n_fft=64, hop=16, padding="center"),
  ),
  "vocos_encodec_24khz": dict(
    sample_rate=RATE,
    encoder=ENCODEC["encoder"],
    quantizer=dict(ENCODEC["quantizer"], num_codebooks=2),
    decoder=dict(VOCOS, padding="same", bandwidth_codebooks=(1, 2)),
  ),
}
# As on the hub, but for the sizes; there, too, DAC's hop_length is another model's.
CONFIG_YAML = """feature_extractor:
  class_path: vocos.feature_extractors.{features}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args:
    input_channels: 8
    dim: 8
    intermediate_dim: 12
    num_layers: 1{conditions}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {{dim: 8, n_fft: {n_fft}, hop_length: {hop}, padding: {padding}}}
"""
MEL = """MelSpectrogramFeatures
  init_args:
    sample_rate: 8000
    n_fft: 64
    hop_length: 16
    n_mels: 8
    padding: center"""
TOKENS = """EncodecFeatures
  init_args:
    encodec_model: encodec_24khz
    bandwidths: [0.75, 1.5]
    train_codebooks: false"""


def _vocos_folder(folder, codec, variables, **config):
  """Writes a folder as Vocos's authors did."""
  folder.mkdir()
  export_torch(variables, codec, folder / "pytorch_model.pth")
  (folder / "pytorch_model.pth").rename(folder / "pytorch_model.bin")
  (folder / "config.yaml").write_text(CONFIG_YAML.format(**config))
  (folder / "README.md").write_text("---\nlicense: mit\n---\n")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
  """Returns a hub with all families and our models, and their variables by preset."""
  root, content, expected = tmp_path_factory.mktemp("hub"), Hub(), {}
  codecs = {name: make_preset(config) for name, config in SMALL.items()}
  for seed, (name, codec) in enumerate(codecs.items()):
    expected[name] = api_helpers.random_variables(codec, seed)
  # What Vocos codes with is EnCodec.
  encodec, tokens = expected["encodec_24khz"], expected["vocos_encodec_24khz"]
  tokens["params"]["encoder"] = encodec["params"]["encoder"]
  layers = tokens["vq_stats"]["quantizer"]
  layers.update({name: encodec["vq_stats"]["quantizer"][name] for name in layers})
  for name in ("dac_16khz", "encodec_24khz"):
    export_torch(expected[name], codecs[name], root / name, "huggingface", "weight_g")
  (root / "encodec_24khz" / "pytorch_model.bin").write_bytes(b"nobody fetches it")
  said = json.loads((root / "dac_16khz" / "config.json").read_text())
  files.write_json(root / "dac_16khz" / "config.json", {**said, "hop_length": 512})
  mel = dict(features=MEL, conditions="", n_fft=64, hop=16, padding="center")
  conditions = "\n    adanorm_num_embeddings: 2 # len(bandwidths)"
  same = dict(features=TOKENS, conditions=conditions, n_fft=32, hop=8, padding="same")
  for name, config in (("vocos_mel_24khz", mel), ("vocos_encodec_24khz", same)):
    _vocos_folder(root / name, codecs[name], expected[name], **config)
  for name in SMALL:
    content.add(presets.PUBLISHED[name], root / name)
    content.add(f"me/{name}", root / name)
  return content, expected


@pytest.fixture
def server(served, tmp_path_factory, monkeypatch):
  cache = tmp_path_factory.getbasetemp() / "cache"  # of all tests
  monkeypatch.setenv("HF_HUB_CACHE", str(cache))
  content = served[0]
  content.requests.clear()
  for name, config in SMALL.items():
    monkeypatch.setitem(presets.PRESETS, name, config)
  with content.serve():
    monkeypatch.setenv("HF_ENDPOINT", content.url)
    yield content


def _same_sound(model, name, variables):
  """Compares a loaded model with the module itself, given the variables."""
  noise_N = np.random.default_rng(0).uniform(-1, 1, 640).astype(np.float32)
  kind = VocoderModel if "mel" in SMALL[name] else CodecModel
  expected = kind(make_preset(SMALL[name]), variables)
  assert isinstance(model, kind) and model.sample_rate == RATE
  if kind is VocoderModel:
    (features_TxM,) = expected.features(noise_N)
    found, wanted = (m.decode(features_TxM) for m in (model, expected))
  else:
    tokens, own = expected.encode(noise_N), model.encode(noise_N)
    np.testing.assert_array_equal(own.codes_BxTxK, tokens.codes_BxTxK)
    assert len(np.unique(tokens.codes_BxTxK)) > V // 4
    found, wanted = model.decode(own), expected.decode(tokens)
  assert np.abs(wanted).max() > 1e-3
  np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_a_preset_and_a_repository_mean_the_published_weights(server, served, name):
  model = jaxcodec.load(name)
  _same_sound(model, name, served[1][name])
  # me/NAME is a repository that the package doesn't know: its files describe it.
  assert jaxcodec.load(f"me/{name}").fingerprint == model.fingerprint
  fetched = [p for m, p, _ in server.requests if m == "GET" and "/cdn/" in p]
  assert ("pytorch_model.bin" in "".join(fetched)) == name.startswith("vocos")


def test_all_names_of_a_repository(server):
  expected = jaxcodec.load("dac_16khz").fingerprint
  for arguments in (
    ("descript/dac_16khz",),
    ("hf://descript/dac_16khz@main",),
    (None, "descript/dac_16khz"),
    (None, "dac_16khz"),
    ("dac_16khz", "me/dac_16khz"),
  ):
    assert jaxcodec.load(*arguments).fingerprint == expected, arguments


@pytest.mark.parametrize(
  "name", ["dac_16khz", "dac_44khz", "encodec_24khz", "encodec_48khz"]
)
def test_a_codec_is_built_as_its_description_says(name, tmp_path):
  codec = make_preset(name)
  files.write_json(tmp_path / "config.json", dict(family_of(codec).config))
  (tmp_path / "model.safetensors").touch()
  found = make_preset(described.codec_config(tmp_path))
  assert found.spec == codec.spec
  assert family_of(found).config == family_of(codec).config


@pytest.mark.parametrize(("rate", "overlap"), [(22_050, 0.01), (44_100, 0.015)])
def test_segments_of_odd_rates_are_described_as_they_came(rate, overlap):
  """Of `int((1 - overlap) * length)` the overlap isn't known to the last digit."""
  segments = dict(seconds=0.5, overlap=overlap)
  config = presets.preset("encodec_48khz")
  codec = make_preset({**config, "sample_rate": rate, "segments": segments})
  assert family_of(codec).config["overlap"] == overlap


# facebook/encodec_32khz, which MusicGen speaks through and no preset describes.
ENCODEC_32KHZ = dict(
  model_type="encodec",
  audio_channels=1,
  chunk_length_s=None,
  codebook_size=2048,
  compress=2,
  hidden_size=128,
  norm_type="weight_norm",
  normalize=False,
  num_filters=64,
  num_lstm_layers=2,
  num_residual_layers=1,
  pad_mode="reflect",
  sampling_rate=32_000,
  target_bandwidths=[2.2],
  upsampling_ratios=[8, 5, 4, 4],
  use_causal_conv=False,
  use_conv_shortcut=False,
)


def test_what_musicgens_codec_says_of_itself(tmp_path):
  files.write_json(tmp_path / "config.json", ENCODEC_32KHZ)
  (tmp_path / "model.safetensors").touch()
  codec = make_preset(described.codec_config(tmp_path))
  assert codec.spec == TokenSpec(4, 2048, hop=640, sample_rate=32_000)
  assert codec.spec.bitrate == 2_200 and codec.decoder.width == 1024
  assert codec.encoder.strides == (4, 4, 5, 8) and codec.encoder.true_skip


@pytest.mark.parametrize(
  ("said", "message"),
  [
    ({"model_type": "mimi"}, "its config is of 'mimi'; known are"),
    ({"a": 1}, "its config is of None; known are"),
    ({"model_type": "dac", "sampling_rate": 1}, "lacks 'downsampling_ratios'"),
    ({"model_type": "encodec"}, "lacks 'upsampling_ratios'"),
    ({**ENCODEC_32KHZ, "upsampling_ratios": None}, "makes no codec: 'NoneType'"),
    ({**ENCODEC_32KHZ, "trim_right_ratio": 0.5}, "trim_right_ratio is 0.5; known is 1"),
  ],
)
def test_other_models_are_refused(server, tmp_path, said, message):
  files.write_json(tmp_path / "config.json", said)
  (tmp_path / "model.safetensors").touch()
  server.add("me/else", tmp_path)
  with pytest.raises(ValueError, match=message):
    jaxcodec.load("me/else")
  del server.repos["me/else"]


def test_training_begins_with_a_repository(server, served):
  codec = make_preset(SMALL["encodec_24khz"])
  config = {"codec_train": {"init_from": "me/encodec_24khz"}}
  experiment = types.SimpleNamespace(
    config=config, models=types.SimpleNamespace(codec=codec)
  )
  found = train_options.initial_variables(experiment, "codec")
  jax.tree.map(np.testing.assert_array_equal, found, served[1]["encodec_24khz"])
  config["codec_train"]["init_from"] = "me/gone"
  with pytest.raises(ConfigError, match="codec_train.init_from: nothing lies at me/go"):
    train_options.initial_variables(experiment, "codec")


def test_a_repository_is_converted_by_its_name(server, served, tmp_path, capsys):
  out = tmp_path / weights.FILE
  assert not main(["convert", "me/encodec_24khz", "--out", str(out)])
  assert "me/encodec_24khz (huggingface layout) ->" in capsys.readouterr().out
  jax.tree.map(
    np.testing.assert_array_equal,
    weights.load_params(out),
    served[1]["encodec_24khz"],
  )
  assert jaxcodec.load(weights=out).sample_rate == RATE


@pytest.mark.slow
def test_the_command_line_takes_a_repository(server, tmp_path):
  """In a process of its own, whose client reads HF_ENDPOINT as it starts."""
  soundfile.write(tmp_path / "a.wav", np.zeros(800), RATE)
  command = ["encode", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out")]
  done = subprocess.run(
    [sys.executable, "-m", "jaxcodec", *command, "--weights", "me/dac_16khz"],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert "me/dac_16khz: commit " in done.stderr
  header = token_file.read_header(tmp_path / "out" / "a.jxc")
  assert header["num_samples"] == [800]
