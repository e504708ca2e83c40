"""Mistakes in a config or the data give one clear error before any stage starts."""

import json
import pathlib

import numpy as np
import pytest
import soundfile
from test_configs import DAC_MASKGIT, start, tiny

from jaxcodec import pipeline, stages
from jaxcodec.build.fields import ConfigError
from jaxcodec.data.source import DataError
from jaxcodec.data.split import write_split
from jaxcodec.pipeline import experiment

# DAC's, with the masked model and with VALL-E.
CONFIG, TEXT_CONFIG = DAC_MASKGIT, DAC_MASKGIT.with_name("dac_valle.py")

BAD_FIELDS = {
  "codec.quantizer.num_codebooks": (0, "codec.quantizer.num_codebooks must be a pos"),
  "codec.quantizer.codebook_size": (-1, "codec.quantizer.codebook_size must be"),
  "codec.quantizer.name": ("vq", "codec.quantizer.name must be one of"),
  "codec.encoder.strides": ((2, 4, 5, 7), "hop of 320.*one of 280"),
  "codec.decoder.strides": ((20, 0), "codec.decoder: strides must be positive"),
  "codec.decoder.width": (17, "codec.decoder: width must be a multiple of 4"),
  "codec.encoder.dtype": ("float8", "codec.encoder.dtype must be one of"),
  "codec_train.steps": (0, "codec_train.steps must be a positive integer"),
  "codec_train.crop_seconds": (0.001, "codec_train.crop_seconds must give at least"),
  "codec_train.adversarial_loss": ("wgan", "codec_train.adversarial_loss must be one"),
  "slm_train.batch_size": (
    7,
    r"slm_train.batch_size \(7\) must be a multiple of the 2",
  ),
  "mesh.tensor": (5, "mesh needs 10 devices"),
  "semantic.name": ("wavlm", "semantic: name must be one of"),
  "slm.heads": (3, r"slm.width \(16\) must be a multiple of twice slm.heads"),
  "slm.level_weights": ("linar", "slm: level_weights must be"),
  "generate.batch_size": (0, "generate.batch_size must be a positive integer"),
  "generate.sampler.steps": ((1,) * 9, "sampler.steps has 9 entries for 2 codebooks"),
  "slm_train.optimizer.warmup_steps": (99, "slm_train.*warmup_steps must be below"),
  "generate.sampler.top_p": (0.0, "generate.sampler.*top_p must be"),
  "evaluate.generation": (
    ("wer", "mos"),
    "evaluate.generation: metric must be one of .*got 'mos'",
  ),
  "evaluate.asr": ("absent/asr", "^evaluate.asr: .*absent/asr is not a folder"),
  "evaluate.language": ("de", "^evaluate.asr: 'whisper-tiny.en' knows English alone"),
  "evaluate.speaker": ("wavlm", "^evaluate.speaker: .*; but wavlm is not a folder"),
  "stages": ("codec,slmm", "stages: 'slmm' is unknown"),
  "data.source": ("libri", "data.source must be one of .*got 'libri'"),
  "data.workers": (-1, "data.workers must not be negative, got -1"),
  "data.on_error": ("ignore", "data.on_error must be 'raise' or 'skip'"),
}


BAD_TEXT_FIELDS = {
  "codec.quantizer.num_codebooks": (1, "slm: Valle needs a codec of at least 2"),
  "text.front_end": ("phones", "text.front_end must be one of .*got 'phones'"),
  "text.language": ("german", "text.language must be one of .* de, .*got 'german'"),
  "slm.heads": (3, r"slm.width \(16\) must be a multiple of twice slm.heads"),
  "slm_train.max_seconds": (0.0, "slm_train.max_seconds must give at least one frame"),
  "slm_train.num_buckets": (0, "slm_train.num_buckets must be a positive integer"),
  "slm_train.continuations": (-1, "slm_train.continuations must be"),
  "slm_train.frames_per_batch": (
    700,
    r"slm_train.frames_per_batch \(700\) must hold",
  ),
  "generate.sampler.max_frames": (0, "generate.sampler.*max_frames must be positive"),
}


@pytest.fixture
def folder(tmp_path):
  """Writes a small folder of noise like speech, with texts."""
  rng = np.random.default_rng(0)
  path = tmp_path / "corpus"
  path.mkdir()
  for i in range(6):
    audio = 0.1 * rng.standard_normal(16_000)
    soundfile.write(path / f"a{i}.wav", audio, 16_000)
    (path / f"a{i}.txt").write_text(f"this is sentence number {i}\n")
  return path


def config_of(folder, path=CONFIG):
  config = tiny(path)
  config.data.options.max_utterances = None
  config.data.source, config.data.path = "folder", str(folder)
  return config


def refused(config, workdir, error, match):
  with pytest.raises(error, match=match):
    pipeline.run(config, workdir, command="pytest")
  left = [p.name for p in pathlib.Path(workdir).glob("*") if p.name != ".lock"]
  assert not left


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_bad_fields(folder, tmp_path, field):
  value, match = BAD_FIELDS[field]
  config = config_of(folder)
  config.update_from_flattened_dict({field: value})
  refused(config, tmp_path / "w", pipeline.BAD_INPUT, match)


def test_a_codec_below_the_least_bitrate_of_opus(folder, tmp_path):
  config = config_of(folder)
  config.codec.quantizer.codebook_size, config.evaluate.opus = 16, True
  match = "evaluate.opus: Opus takes 500 bit/s or more, the codec has 400"
  refused(config, tmp_path / "w", ConfigError, match)


def test_codecs_that_experiments_are_not_of(folder, tmp_path):
  config = config_of(folder)
  config.codec.normalize = True
  refused(config, tmp_path / "w", ConfigError, "codec: experiments are of mono codecs")
  config = config_of(folder)
  config.codec.quantizer.codebook_size = 65_537
  refused(config, tmp_path / "w", ConfigError, "a codebook has at most 65536 codes")


def test_no_heads(folder, tmp_path):
  config = config_of(folder)
  config.slm.heads = 0
  refused(config, tmp_path / "w", ConfigError, "slm.heads must be a positive integer")


@pytest.mark.parametrize("field", BAD_TEXT_FIELDS)
def test_bad_fields_of_a_model_that_reads_texts(folder, tmp_path, field):
  value, match = BAD_TEXT_FIELDS[field]
  config = config_of(folder, TEXT_CONFIG)
  config.update_from_flattened_dict({field: value})
  refused(config, tmp_path / "w", ConfigError, match)


def test_recordings_that_are_all_longer_than_is_trained_on(folder, tmp_path):
  config = config_of(folder, TEXT_CONFIG)
  config.slm_train.max_seconds, config.slm_train.frames_per_batch = 0.5, 800
  match = "no recording of the train part has at most slm_train.max_seconds, 0.5 s"
  refused(config, tmp_path / "w", DataError, match)


def test_texts_are_read_again_where_the_data_have_changed(folder, tmp_path):
  """Tokens that are there are of other recordings, so they aren't used."""
  config = config_of(folder, TEXT_CONFIG)
  config.stages = "tokens,slm"
  stages.run_stage(tmp_path / "w", "codec", {}, lambda f: [])
  stages.run_stage(tmp_path / "w", "tokens", {"data": "before"}, lambda f: [])
  (folder / "a3.txt").write_text("?!\n")
  with pytest.raises(DataError, match="a3"):
    pipeline.run(config, tmp_path / "w", command="pytest")


def test_a_linked_codec_brings_its_split(folder, tmp_path):
  """Whatever the seed is; another experiment's test part isn't trained on."""
  config = experiment.plain(config_of(folder))
  own = experiment.open_experiment(config, tmp_path / "own")
  utterances, turned = own.source.utterances, dict(own.split)
  turned["test"], turned["valid"] = turned["valid"], turned["test"]
  (tmp_path / "other" / "codec").mkdir(parents=True)
  write_split(tmp_path / "other" / "codec" / "split.json", utterances, turned)
  for name in ("codec", "tokens"):
    workdir = tmp_path / f"on_{name}"
    workdir.mkdir()
    (tmp_path / "other" / name).mkdir(exist_ok=True)
    (workdir / name).symlink_to(tmp_path / "other" / name)
    assert experiment.open_experiment(config, workdir).split == turned


def test_what_a_model_that_reads_texts_cannot_do_without(folder, tmp_path):
  config = config_of(folder, TEXT_CONFIG)
  del config["text"]
  refused(config, tmp_path / "w", ConfigError, "text is missing: slm.name is")
  config = config_of(folder, TEXT_CONFIG)
  del config.slm_train["frames_per_batch"]
  match = "slm_train.frames_per_batch is missing, which 'valle' needs"
  refused(config, tmp_path / "w", ConfigError, match)
  config.slm_train.batch_size = 4
  match = "slm_train.batch_size: unknown for 'valle'; known: "
  refused(config, tmp_path / "w", ConfigError, match)
  for path in folder.glob("*.txt"):
    path.unlink()
  match = "data: none of the . recordings of the train part has a text"
  refused(config_of(folder, TEXT_CONFIG), tmp_path / "w", DataError, match)


def test_guidance_of_a_model_that_always_has_a_text(folder, tmp_path):
  config = config_of(folder, DAC_MASKGIT.with_name("dac_delay.py"))
  config.slm.text_dropout = 0.0
  config.generate.sampler.guidance = 2.0
  match = r"generate.sampler: guidance must be 1 for a model.*text_dropout is 0"
  refused(config, tmp_path / "w", ConfigError, match)
  config.slm.text_dropout = 0.1
  config.generate.sampler.guidance = 0.5
  refused(config, tmp_path / "w", ConfigError, "guidance must be 1 .none. or more")


@pytest.mark.parametrize("section", ["codec.encoder", "slm", "codec_train.optimizer"])
def test_an_unknown_field_is_named(folder, tmp_path, section):
  config = config_of(folder)
  node = config
  for name in section.split("."):
    node = node[name]
  node.widht = 3
  refused(config, tmp_path / "w", ConfigError, f"{section}.*widht")


def test_a_stage_without_what_it_needs(folder, tmp_path):
  config = config_of(folder)
  config.stages = "slm"
  refused(config, tmp_path / "w", ConfigError, "'slm' needs 'tokens'")


def _truncate(path):
  path.write_bytes(path.read_bytes()[:20_000])


def _nan(path):
  audio = np.zeros(16_000)
  audio[100] = np.nan
  soundfile.write(path, audio, 16_000, subtype="FLOAT")


SPOILERS = {
  "truncated": _truncate,
  "zero bytes": lambda path: path.write_bytes(b""),
  "not audio": lambda path: path.write_bytes(b"RIFFnonsense" * 99),
  "no samples": lambda path: soundfile.write(path, np.zeros(0), 16_000),
  "nan": _nan,
  "shorter than a crop": lambda p: soundfile.write(p, np.full(800, 0.1), 16_000),
}


@pytest.mark.parametrize("kind", SPOILERS)
def test_bad_audio_names_the_file(folder, tmp_path, kind):
  config = config_of(folder)
  config.data.valid = config.data.test = 0.01  # all but two recordings are trained on
  for name in ("a0", "a1", "a2"):
    SPOILERS[kind](folder / f"{name}.wav")
  refused(config, tmp_path / "w", DataError, "a[012]")


def test_bad_audio_is_left_out_and_listed(folder, tmp_path):
  config = config_of(folder)
  config.data.on_error, config.stages, config.codec_train.steps = "skip", "codec", 1
  _truncate(folder / "a0.wav")
  pipeline.run(config, tmp_path / "w", command="pytest")
  (entry,) = json.loads((tmp_path / "w" / "codec" / "skipped.json").read_text())
  split = json.loads((tmp_path / "w" / "codec" / "split.json").read_text())
  assert entry["item"].endswith("a0.wav") and "a0" not in sum(split.values(), [])


def test_no_folder_and_an_empty_folder(tmp_path):
  refused(config_of(tmp_path / "none"), tmp_path / "w", DataError, "none")
  (tmp_path / "empty").mkdir()
  refused(config_of(tmp_path / "empty"), tmp_path / "v", DataError, "empty")


def test_metadata_that_names_a_missing_file(folder, tmp_path):
  rows = [
    f"a{i}|this is sentence number {i}|this is sentence number {i}\n" for i in range(9)
  ]
  (folder / "metadata.csv").write_text("".join(rows))
  refused(config_of(folder), tmp_path / "w", DataError, "a6")


@pytest.mark.slow
@pytest.mark.parametrize("field", ["num_codebooks=0", "num_codebook=3"])
def test_the_command_line_says_it_without_a_traceback(tmp_path, field):
  process = start(CONFIG, tmp_path / "w", f"--config.codec.quantizer.{field}")
  output, _ = process.communicate(timeout=240)
  assert process.returncode == 2
  assert field.partition("=")[0] in output
  assert "Traceback" not in output
