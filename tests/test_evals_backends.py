"""Which models a config may name for measuring, and the errors for others."""

import json

import pytest

from jaxcodec.build.fields import ConfigError
from jaxcodec.evals.models import asr, hubert_ctc, speaker, waveform
from jaxcodec.evals.registry import make_metrics

HUBERT = ("preprocessor_config.json", "vocab.json", "model.safetensors")


def _folder(path, *names, architecture=None):
  path.mkdir(exist_ok=True)
  for name in names:
    (path / name).write_text("{}")
  if architecture:
    (path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
  return str(path)


def test_results_say_which_model_measured(tmp_path):
  whisper = _folder(tmp_path / "base", "model.bin", "config.json", "vocabulary.txt")
  ctc = _folder(tmp_path / "large", *HUBERT, architecture="HubertForCTC")
  said = {
    "whisper-tiny.en": "by whisper-tiny.en",
    whisper: "faster-whisper model base",
    ctc: "HuBERT-CTC model large in JAX",
  }
  for model, name in said.items():
    for metric in make_metrics(["wer", "cer"], asr=model):
      assert name in metric.measures
  files = ("preprocessor_config.json", "pytorch_model.bin")
  wavlm = _folder(tmp_path / "sv", *files, architecture="WavLMForXVector")
  said = {
    "voicefilter_dvector": "VoiceFilter",
    "resemblyzer": "Resemblyzer",
    wavlm: "WavLM model sv in JAX",
  }
  for model, name in said.items():
    (metric,) = make_metrics(["speaker_similarity"], speaker_model=model)
    assert name in metric.measures


@pytest.mark.parametrize(
  "names,architecture,reason",
  [
    (None, None, "is not a folder"),
    ((), None, "holds nothing"),
    (HUBERT, "HubertModel", r"holds config.json, .*\(of HubertModel\)"),
    (HUBERT[1:], "HubertForCTC", r"vocab.json \(of HubertForCTC\)"),
    (HUBERT[:2], "HubertForCTC", "holds config.json, preprocessor_config.json"),
  ],
)
def test_a_wrong_folder_is_an_error_not_another_model(
  tmp_path, names, architecture, reason
):
  path = tmp_path / "model"
  if names is not None:
    _folder(path, *names, architecture=architecture)
  expected = "evaluate.asr: expected 'whisper-tiny.en', or a folder with model.bin, or"
  with pytest.raises(ConfigError, match=f"{expected} .*; but {path} ?.*{reason}"):
    asr.choose_asr(str(path))
  with pytest.raises(ConfigError, match="evaluate.speaker: expected .*WavLMForX"):
    speaker.choose_speaker(str(path))


@pytest.mark.parametrize("path", [None, "absent/utmos_scripted.pt"])
def test_utmos_needs_its_file(path):
  with pytest.raises(ConfigError, match=f"^evaluate.utmos: .*{path}.* is not a file"):
    make_metrics(["utmos"], utmos=path)


def test_runs_of_a_symbol_are_one_and_blanks_none():
  symbols = hubert_ctc.Symbols(("-", "A", "B", "_"), "-", "_")
  heard = [3, 1, 1, 0, 1, 3, 3, 2, 2, 0, 0, 3]
  assert symbols.text(heard) == "AA B"
  assert symbols.text([0, 0]) == symbols.text([]) == ""


def test_symbols_are_read_and_checked(tmp_path):
  path = tmp_path / "vocab.json"
  path.write_text(json.dumps({"b": 1, "<pad>": 0, "#": 2}))
  settings = {"pad_token": {"content": "b"}, "word_delimiter_token": "#"}
  assert hubert_ctc.read_symbols(tmp_path, 3) == (("<pad>", "b", "#"), "<pad>", "|")
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
  assert hubert_ctc.read_symbols(tmp_path, 3)[1:] == ("b", "#")
  with pytest.raises(ValueError, match="vocab.json: expected names of .* 0 to 3"):
    hubert_ctc.read_symbols(tmp_path, 4)
  path.write_text(json.dumps({"<pad>": 0}))
  with pytest.raises(ValueError, match="vocab.json: expected the blank symbol 'b'"):
    hubert_ctc.read_symbols(tmp_path, 1)
  path.write_text("[]")
  with pytest.raises(ValueError, match="vocab.json: expected an object, got a list"):
    hubert_ctc.read_symbols(tmp_path, 1)


@pytest.mark.parametrize(
  "text,reason",
  [("{", "do_normalize"), ("{}", "do_normalize"), ("[]", "do_normalize"),
   ('{"do_normalize": true, "sampling_rate": 8000}', "16000, got 8000")],
)  # fmt: skip
def test_how_audio_is_prepared_is_not_guessed(text, reason, tmp_path):
  (tmp_path / "preprocessor_config.json").write_text(text)
  with pytest.raises(ValueError, match=f"preprocessor_config.json: .*{reason}"):
    waveform.wants_normalised(tmp_path)
