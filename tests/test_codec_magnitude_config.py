"""The codec of magnitudes by its config: what it builds, and its stage."""

import json

import jax
import numpy as np
import pytest
import soundfile

import jaxcodec
from jaxcodec import pipeline, recipes, shipped, weights
from jaxcodec.build.check import check, check_shapes
from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.fields import ConfigError
from jaxcodec.data.source import DataError
from jaxcodec.pipeline.experiment import open_experiment, plain
from jaxcodec.tasks.codec_magnitude import CodecMagnitudeTask
from jaxcodec.train.metrics_file import read_metrics

HALF = dict(width=8, mlp_width=8, depth=1, n_fft=128, hop=64, sub_hop=32)
SMALL = {
  "cpu_devices": 8,
  "mesh.data": 2,
  "stages": "codec",
  "data.source": "synthetic",
  "codec_train.steps": 3,
  "codec_train.batch_size": 4,
  "codec_train.crop_seconds": 0.05,
  "codec_train.mel_scales": ((64, 10),),
  "codec_train.log_every": 1,
  "codec_train.accumulate": 2,
  "codec_train.start.frames": 200,
  "codec_train.start.iterations": 2,
}


def _config(**changes):
  arg = "runlocal,scratch,codec=magnitude_16khz"
  config = recipes.experiment(arg, codec_name="dac", slm="maskgit")
  for half in ("encoder", "decoder"):
    config.codec[half].update(HALF)
  config.codec.decoder.iterations = 2
  config.codec.quantizer.update(num_codebooks=2, codebook_size=16)
  config.update_from_flattened_dict(SMALL | changes)
  return config


@pytest.mark.parametrize(
  "arg",
  ["codec=magnitude_16khz"]
  + [f"runlocal,codec=magnitude_{q}" for q in ("16khz", "dacq", "simvq", "fsq")],
)
def test_the_recipe_builds(arg):
  config = plain(recipes.experiment(arg, codec_name="dac", slm="maskgit"))
  models = check(config)
  assert isinstance(models.codec_task, CodecMagnitudeTask)
  assert models.codec_task.codec.spec.bitrate == 4_000
  check_shapes(config, models.codec_task)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("trained")
  pipeline.run(_config(), workdir, command="pytest")
  return workdir


def test_the_stage_starts_on_features_and_trains(trained):
  records = read_metrics(trained / "codec")
  assert records[-1]["step"] == 3 and np.isfinite(records[-1]["loss"])
  # Random weights would have an error of the order of 1.
  first = next(record for record in records if "magnitude" in record)
  assert first["step"] == 1 and first["magnitude"] < 0.1
  variables = weights.load_params(trained / "codec" / weights.FILE)
  books = jax.tree.leaves(variables["vq_stats"])
  assert all(np.isfinite(book).all() for book in books)
  assert variables["params"]["encoder"]["mean"].all()
  model = jaxcodec.load(weights=trained)
  audio = np.sin(np.arange(1000, dtype=np.float32) / 20)
  assert model.decode(model.encode(audio)).shape == (1, 1000, 1)


def test_no_steps_export_what_training_would_begin_with(tmp_path, monkeypatch):
  first, second = tmp_path / "first", tmp_path / "second"
  pipeline.run(_config(**{"codec_train.steps": 0}), first, command="pytest")
  fitted = weights.load_params(first / "codec" / weights.FILE)
  assert fitted["params"]["encoder"]["mean"].all()
  assert not (first / "codec" / "checkpoints").exists()
  # The same by the name of a codec that comes along.
  monkeypatch.setattr(shipped, "ROOT", tmp_path / "shipped")
  (tmp_path / "shipped").mkdir()
  (first / "codec").rename(tmp_path / "shipped" / "fitted")
  begin = {"codec_train.steps": 0, "codec_train.init_from": "fitted"}
  pipeline.run(_config(**begin), second, command="pytest")
  again = weights.load_params(second / "codec" / weights.FILE)
  jax.tree.map(np.testing.assert_array_equal, again, fitted)
  record = json.loads((second / "codec" / "DONE.json").read_text())
  assert record["inputs"]["config"]["codec_train"]["init_from"] == weights.fingerprint(
    fitted
  )


def test_without_crops_utterances_may_be_shorter_than_one(tmp_path):
  """Crops are made to train on, and to fit the start to."""
  for number in range(8):
    noise_N = np.random.default_rng(number).normal(size=1600).astype("f4") / 10
    soundfile.write(tmp_path / f"{number}.wav", noise_N, 16_000)
  folder = {"data.source": "folder", "data.path": str(tmp_path)}
  crop = {"codec_train.crop_seconds": 0.2}
  config = plain(_config(**folder, **crop))
  for steps in (config["codec_train"]["steps"], 0):
    config["codec_train"]["steps"] = steps
    with pytest.raises(DataError, match="shorter than the crop of 0.2"):
      open_experiment(config, tmp_path)
  config["codec_train"]["init_from"] = "speech_16khz"
  assert len(open_experiment(config, tmp_path).split["train"]) > 3


def test_no_steps_from_random_weights_are_an_error():
  config = plain(_config(**{"codec_train.steps": 0}))
  config["codec_train"]["start"] = None
  with pytest.raises(ConfigError, match="codec_train.steps must be a positive"):
    check(config)


@pytest.mark.parametrize(
  "field,value,match",
  [
    ("task", "magnitudes", "codec_train.task must be one of .*gan.*magnitude"),
    ("weights", {"magnitude": 1.0}, "codec_train.weights must name .*commitment"),
    ("start", {"frames": 0, "iterations": 1}, "codec_train.start.frames must be a"),
    ("start", {"frames": 15, "iterations": 1}, "must be at least 16 codes, got 15"),
    ("start", {"frames": 99}, "codec_train.start must have frames and iterations"),
    ("freeze", ("encoder",), "freeze needs codec_train.init_from"),
  ],
)
def test_what_cannot_be_is_one_error(field, value, match):
  config = plain(_config())
  config["codec_train"][field] = value
  with pytest.raises(ConfigError, match=match):
    make_codec_task(config)


def test_a_decoder_is_trained_for_the_tokens_of_another(trained, tmp_path):
  frozen = dict(init_from=str(trained), freeze=("encoder", "quantizer"))
  config = _config(**{f"codec_train.{name}": value for name, value in frozen.items()})
  pipeline.run(config, tmp_path, command="pytest")
  given, found = (
    weights.load_params(p / "codec/params.safetensors") for p in (trained, tmp_path)
  )
  kept = [(tree["params"]["encoder"], tree["vq_stats"]) for tree in (given, found)]
  jax.tree.map(np.testing.assert_array_equal, *kept)
  first = next(r for r in read_metrics(tmp_path / "codec") if "magnitude" in r)
  assert first["magnitude"] < 0.1  # the decoder starts fitted to the tokens
  config.codec_train.freeze = ("quantizer",)
  with pytest.raises(ConfigError, match="freeze must name both encoder and quantizer"):
    check(plain(config))


def test_another_decoder_on_its_tokens_is_trained_as_the_study_s():
  arg = "runlocal,codec=magnitude_16khz+vocos"
  config = recipes.experiment(arg, codec_name="dac", slm="maskgit")
  assert config.codec_train.discriminator.name == "dac" and config.codec_train.steps
  assert config.codec.decoder.width == 96 and config.codec.encoder.width == 192
  check(plain(config))


def test_the_task_wants_its_codec():
  config = plain(_config())
  config["codec"]["decoder"]["power"] = 0.5
  with pytest.raises(ConfigError, match="codec_train.start needs one power"):
    make_codec_task(config)
  config["codec"] = {"preset": "dac"}
  with pytest.raises(ConfigError, match="codec_train.start needs a codec.encoder"):
    make_codec_task(config)
  config["codec_train"]["start"] = None
  with pytest.raises(ConfigError, match="codec_train.task 'magnitude' needs"):
    make_codec_task(config)
