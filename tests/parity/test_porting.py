"""Weights to ours and back, against the originals and transformers' models."""

import re

import jax
import numpy as np
import originals
import pytest

from jaxcodec import porting, presets
from jaxcodec.build.codec import make_preset
from jaxcodec.cli.convert import convert_file
from jaxcodec.nn.weight_norm import fold_weight_norm
from jaxcodec.porting import described, probe, readers, weights
from jaxcodec.porting.families import family_of

torch = pytest.importorskip("torch")
pytestmark = [
  pytest.mark.parity,
  pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
]

D, K, V, RATE, HOP = 8, 4, 16, 1_000, 5
SEANET = dict(width=4, strides=(2, 4))
SMALL = {
  "dac_16khz": dict(
    encoder=dict(width=4, strides=(2, 5)),
    quantizer=dict(num_codebooks=K, codebook_size=V),
    decoder=dict(width=16, strides=(5, 2)),
  ),
  "encodec_24khz": dict(
    encoder=dict(SEANET, latent_dim=D),
    quantizer=dict(num_codebooks=K, codebook_size=V),
    decoder=dict(width=16, strides=(4, 2)),
  ),
  "vocos_mel_24khz": dict(
    mel=dict(n_fft=64, hop=16, n_mels=8),
    decoder=dict(width=D, mlp_width=12, depth=2, n_fft=64, hop=16),
  ),
}
SMALL["encodec_48khz"] = SMALL["encodec_24khz"]
SMALL["vocos_encodec_24khz"] = dict(
  encoder=SMALL["encodec_24khz"]["encoder"],
  quantizer=dict(num_codebooks=2, codebook_size=V),
  decoder=dict(
    width=D, mlp_width=12, depth=2, n_fft=32, hop=8, bandwidth_codebooks=(1, 2)
  ),
)


@pytest.fixture(autouse=True)
def _seeded():
  torch.manual_seed(0)


def small(name):
  """Returns the preset's config with small sizes."""
  return presets.expand({"preset": name, "sample_rate": RATE, **SMALL[name]})


def randomized(model):
  """Adds noise to the weights, and puts EnCodec's codebooks where its latents are."""
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
      if name.startswith(("encoder", "quantizer")) and name.endswith("bias"):
        parameter.zero_()  # would drown the audio
    levels = getattr(getattr(model, "quantizer", None), "vq", None)
    if levels is not None:
      noise = 0.3 * torch.randn(1, model.channels, 2 * HOP * V)
      frames_TxD = model.eval().encoder(noise)[0].T
      centred_TxD = frames_TxD - frames_TxD.mean(0)
      for k, level in enumerate(levels.layers):
        book, start = level._codebook, centred_TxD if k else frames_TxD
        book.embed.copy_(start[k : k + V] * 0.5**k)
        book.embed_avg.normal_()
        book.cluster_size.uniform_()
        book.inited.fill_(1)
  return model.eval()


def dac(config):
  originals.dac()
  from dac.model.dac import DAC

  return DAC(**family_of(make_preset(config)).kwargs)


def encodec(config):
  originals.encodec()
  from encodec import EncodecModel
  from encodec.modules import SEANetDecoder, SEANetEncoder
  from encodec.quantization import ResidualVectorQuantizer

  encoder, levels = config["encoder"], config["quantizer"]["num_codebooks"]
  style = dict(
    channels=encoder["channels"],
    dimension=D,
    n_filters=encoder["width"],
    ratios=encoder["strides"][::-1],
    norm=encoder["norm"],
    causal=encoder["causal"],
  )
  quantizer = ResidualVectorQuantizer(D, levels, V)
  parts = SEANetEncoder(**style), SEANetDecoder(**style), quantizer
  return EncodecModel(*parts, [1.0], RATE, encoder["channels"])


def vocos(config):
  originals.vocos()
  from vocos.feature_extractors import EncodecFeatures, MelSpectrogramFeatures
  from vocos.heads import ISTFTHead
  from vocos.models import VocosBackbone
  from vocos.pretrained import Vocos

  decoder, books = config["decoder"], config["decoder"].get("bandwidth_codebooks")
  if books is None:
    mel = dict(config["mel"])
    features = MelSpectrogramFeatures(RATE, hop_length=mel.pop("hop"), **mel)
  else:
    features = EncodecFeatures.__new__(EncodecFeatures)
    torch.nn.Module.__init__(features)
    features.encodec = randomized(encodec(small("encodec_24khz")))
    codebooks = [level.codebook for level in features.encodec.quantizer.vq.layers]
    features.codebook_weights = torch.nn.Parameter(torch.cat(codebooks[: books[-1]]))
  sizes = decoder["width"], decoder["mlp_width"], decoder["depth"]
  inputs, conditions = (8, None) if books is None else (D, len(books))
  backbone = VocosBackbone(inputs, *sizes, adanorm_num_embeddings=conditions)
  stft = decoder["n_fft"], decoder["hop"], decoder["padding"]
  return Vocos(features, backbone, ISTFTHead(decoder["width"], *stft))


ORIGINALS = {
  "dac_16khz": dac,
  "encodec_24khz": encodec,
  "encodec_48khz": encodec,
  "vocos_mel_24khz": vocos,
  "vocos_encodec_24khz": vocos,
}


def saved(name, model, folder):
  """Saves the model in its authors' file format."""
  path, state = folder / "weights.pth", model.state_dict()
  if name == "dac_16khz":
    state = {"state_dict": state, "metadata": {"kwargs": {"latent_dim": None}}}
  if name == "vocos_encodec_24khz":
    encodec = model.feature_extractor.encodec.state_dict()
    torch.save(encodec, folder / "encodec_24khz-0.th")
    state = {n: a for n, a in state.items() if ".encodec." not in n}
  torch.save(state, path)
  return path


def codec(name):
  return make_preset(small(name))


def load(model, state):
  """Loads strictly; Vocos' EnCodec has its own file, as in `Vocos.from_pretrained`."""
  rest = {n: a for n, a in model.state_dict().items() if ".encodec." in n}
  model.load_state_dict({**rest, **state}, strict=True)


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_round_trip_is_bit_equal(name, tmp_path):
  model = ORIGINALS[name](small(name))
  if name != "vocos_encodec_24khz":  # whose codebooks are in two places
    randomized(model)
  path = saved(name, model, tmp_path)
  found = weights.import_weights(path, codec(name))
  again = tmp_path / "again.pth"
  porting.export_torch(
    found.variables,
    codec(name),
    again,
    found.layout,
    found.weight_norm,
    buffers=found.buffers,
  )
  first, second = (torch.load(p, weights_only=True) for p in (path, again))
  first, second = (tree.get("state_dict", tree) for tree in (first, second))
  assert first.keys() == second.keys()
  for key, value in first.items():
    assert value.dtype == second[key].dtype
    assert torch.equal(value, second[key]), key
  load(model, second)
  porting.export_torch(found.variables, codec(name), again)  # with buffers of our own
  made = torch.load(again, weights_only=True)
  for key, value in made.get("state_dict", made).items():
    torch.testing.assert_close(value, first[key], rtol=0, atol=1e-5)


def test_both_spellings_of_weight_norm(tmp_path):
  model = dac(small("dac_16khz"))
  old = saved("dac_16khz", model, tmp_path)
  variables = porting.convert(old, codec("dac_16khz"))
  new = tmp_path / "new.safetensors"
  porting.export_torch(
    variables, codec("dac_16khz"), new, weight_norm="parametrizations"
  )
  names = set(readers.read(new).state)
  assert "encoder.block.0.parametrizations.weight.original1" in names
  found = weights.import_weights(new, codec("dac_16khz"))
  assert found.weight_norm == "parametrizations"
  back = tmp_path / "back.safetensors"
  porting.export_torch(
    found.variables, codec("dac_16khz"), back, found.layout, found.weight_norm
  )
  assert back.read_bytes() == new.read_bytes()


def test_the_original_dac_takes_weights_without_norms(tmp_path):
  """Hugging Face's have none; of a file without, the original would load nothing."""
  config = small("dac_16khz")
  theirs, fresh, back = randomized(dac(config)), dac(config).eval(), tmp_path / "b.pth"
  path = saved("dac_16khz", theirs, tmp_path)
  found = weights.import_weights(path, make_preset(config)).variables
  folded = {**found, "params": fold_weight_norm(found["params"])}
  assert len(jax.tree.leaves(folded)) < len(jax.tree.leaves(found))
  porting.export_torch(folded, make_preset(config), back)
  fresh.load_state_dict(torch.load(back)["state_dict"], strict=True)
  noise = 0.3 * torch.randn(1, 1, 4 * HOP)
  with torch.no_grad():
    expected, got = (model.decoder(model.encoder(noise)) for model in (theirs, fresh))
  torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vocos_mel_24khz", "vocos_encodec_24khz"])
def test_a_checkpoint_of_vocos_training(name, tmp_path):
  """Its discriminators and losses are left out."""
  model, path = vocos(small(name)), tmp_path / "last.ckpt"
  plain = weights.import_weights(saved(name, model, tmp_path), codec(name))
  state = {n: a for n, a in model.state_dict().items() if ".encodec." not in n}
  for more in ("multiperioddisc.a", "multiresddisc.b", "melspec_loss.mel_spec.c"):
    state[more] = torch.ones(2)
  torch.save({"state_dict": state, "epoch": 3, "optimizer_states": [{}]}, path)
  found = weights.import_weights(path, codec(name))
  jax.tree.map(np.testing.assert_array_equal, found.variables, plain.variables)
  assert found.buffers.keys() == plain.buffers.keys()


CODECS = ["dac_16khz", "encodec_24khz", "encodec_48khz"]


@pytest.mark.parametrize("name", CODECS)
def test_hugging_faces_layout(name, tmp_path):
  """transformers takes every weight, and what it saves comes back."""
  transformers = pytest.importorskip("transformers")
  config, folders = small(name), [tmp_path / "ours", tmp_path / "theirs"]
  path = saved(name, randomized(ORIGINALS[name](config)), tmp_path)
  expected = weights.import_weights(path, make_preset(config)).variables
  weight_norm = "parametrizations"
  porting.export_torch(
    expected, make_preset(config), folders[0], "huggingface", weight_norm
  )
  model, loading = transformers.AutoModel.from_pretrained(
    folders[0], output_loading_info=True
  )
  assert not any(loading.values())
  model.save_pretrained(folders[1])
  found, wanted = (
    family_of(make_preset(one)).config
    for one in (described.codec_config(folders[1]), config)
  )
  assert found == wanted
  first, second = (
    weights.import_weights(folder, make_preset(config)) for folder in folders
  )
  assert first.layout == second.layout == "huggingface"
  jax.tree.map(np.testing.assert_array_equal, first.variables, second.variables)
  if name != "dac_16khz":  # which has its weight norms multiplied out
    jax.tree.map(np.testing.assert_array_equal, first.variables, expected)


@pytest.mark.parametrize("name", CODECS)
def test_transformers_has_the_same_codes_and_audio(name, tmp_path):
  pytest.importorskip("transformers")
  config = small(name)
  for part, strides in (("encoder", (HOP,)), ("decoder", (HOP,))):
    config[part]["strides"] = strides  # half as much to compile
  if name != "dac_16khz":  # whose decoder has a width of its own
    config["decoder"]["width"] = 2 * config["encoder"]["width"]
  path = saved(name, randomized(ORIGINALS[name](config)), tmp_path)
  ours = tmp_path / "ours.safetensors"
  said = convert_file(path, config, ours, verify=True)
  pattern = r"([0-9.]+)% of .* \((\d+) values\) .* differs by ([0-9.e+-]+)"
  agreement, values, error = re.search(pattern, said).groups()
  assert agreement == "100.0000" and float(error) <= 1e-5
  assert int(values) >= V // 2
  assert "agree with transformers" in said
  if name == "dac_16khz":
    _check_stored_probe(ours, config, tmp_path)


def _check_stored_probe(ours, config, folder):
  """Checks that written weights get a stored probe, and that it reveals damage."""
  back = folder / "out" / "back.pth"
  convert_file(ours, None, back)
  subject = make_preset(config)
  variables = porting.convert(back, subject)
  probe.save(back.with_name(probe.FILE), probe.Subject(subject, variables).probe())
  tree = torch.load(back, weights_only=True)
  tree["state_dict"]["decoder.model.0.bias"] += 0.1
  torch.save(tree, back)
  said = convert_file(back, config, folder / "c.safetensors", verify=True)
  assert "100.0000%" in said and "stored probe.npz" in said
  assert "differs by 0.0" not in said


def test_vocos_on_tokens_wants_the_encodec_it_was_trained_on(tmp_path):
  name = "vocos_encodec_24khz"
  path = saved(name, vocos(small(name)), tmp_path)
  encodec = tmp_path / "encodec_24khz-0.th"
  state = torch.load(encodec, weights_only=True)
  state["quantizer.vq.layers.1._codebook.embed"] += 1
  torch.save(state, encodec)
  with pytest.raises(ValueError, match="codebooks are not those of the EnCodec beside"):
    porting.convert(path, codec(name))
  encodec.unlink()
  with pytest.raises(FileNotFoundError, match="put EnCodec's own file"):
    porting.convert(path, codec(name))


def test_weights_of_every_dtype_and_stride_are_read_as_torch_reads_them(tmp_path):
  base = torch.arange(24.0).reshape(2, 3, 4)
  state = {
    "transposed": base.transpose(0, 2),
    "slice": base[:, 1:, ::2],
    "expanded": torch.ones(1, 3).expand(1, 3),
    "parameter": torch.nn.Parameter(base.half()),
    "brain": base.bfloat16(),
    "int": torch.tensor([1, 2]),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3.0, dtype=torch.float64),
    "empty": torch.zeros(0, 2),
  }
  path = tmp_path / "a.pth"
  torch.save({"state_dict": state, "metadata": {"kwargs": {"a": (1, 2)}}}, path)
  checkpoint = readers.read(path)
  assert checkpoint.config == {"a": (1, 2)}
  for name, tensor in state.items():
    ours = checkpoint.state[name]
    assert ours.dtype.name == str(tensor.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(
      ours.astype(np.float64), tensor.detach().double().numpy()
    )
  torch.save(state, path, _use_new_zipfile_serialization=False)
  with pytest.raises(ValueError, match="before 1.6"):
    readers.read(path)


def test_weights_that_do_not_fit_are_listed(tmp_path):
  config = small("dac_16khz")
  state = dac(config).state_dict()
  del state["decoder.model.0.bias"]
  state["decoder.model.0.extra"] = torch.ones(1)
  state["encoder.block.0.bias"] = torch.ones(99)
  torch.save(state, tmp_path / "a.pth")
  with pytest.raises(ValueError) as caught:
    porting.convert(tmp_path / "a.pth", make_preset(config))
  for part in (
    "a.pth",
    "decoder.model.0.extra: not a parameter",
    "params/decoder/model_0/bias: not in the weights",
    r"encoder.block.0.bias: expected (4,), got (99,)",
  ):
    assert part in str(caught.value)
  kwargs = {"sample_rate": 44_100, "encoder_rates": [2, 5]}
  tree = {"state_dict": state, "metadata": {"kwargs": kwargs}}
  torch.save(tree, tmp_path / "a.pth")
  with pytest.raises(ValueError, match="another model:\n  sample_rate is 44100, but"):
    porting.convert(tmp_path / "a.pth", make_preset(config))
