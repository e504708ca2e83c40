"""The two training stages: the codec, and the speech language model on its tokens."""

import json
import pathlib
from typing import Any

import jaxcodec
from jaxcodec import build, distributed, export, files, sharding, train
from jaxcodec.data import pipeline as data_pipeline
from jaxcodec.data import split as splits
from jaxcodec.data import token_batches
from jaxcodec.data.token_store import TokenSource
from jaxcodec.pipeline.experiment import PARAMS, Experiment
from jaxcodec.tasks.collapse import CollapseWatch

SPLIT, SKIPPED, CURVES = "split.json", "skipped.json", "metrics.jsonl"


def train_codec(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the codec on crops; writes its averaged weights, the split, the curves."""
  config, spec = experiment.config, experiment.spec
  settings, source = config["codec_train"], experiment.source
  distributed.on_first(lambda: _record_data(experiment, folder))
  shape = {
    "sample_rate": spec.sample_rate,
    "crop_samples": build.crop_samples(config, "codec_train", spec),
    **shard(experiment, settings["batch_size"]),
  }
  crops = data_pipeline.crops(
    source, experiment.split["train"], seed=experiment.seed, **shape
  )
  held_out = data_pipeline.eval_crops(source, experiment.split["valid"], **shape)
  task = build.make_codec_task(config)
  show = ("mel", "adversarial", "eval/mel")
  watch = CollapseWatch(spec.codebook_size)
  _fit(experiment, "codec_train", task, crops, held_out, folder, show, watch)
  return [PARAMS, SPLIT, SKIPPED, CURVES]


def train_slm(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the speech language model on windows of tokens."""
  config, spec = experiment.config, experiment.spec
  settings = config["slm_train"]
  tokens = experiment.done["tokens"].folder
  shape = {
    **shard(experiment, settings["batch_size"]),
    "frames": build.crop_samples(config, "slm_train", spec) // spec.hop,
  }
  train_tokens = TokenSource(tokens / "train.array_record")
  held_out = TokenSource(tokens / "valid.array_record")
  windows = token_batches.token_batches(train_tokens, seed=experiment.seed, **shape)
  evaluated = token_batches.eval_token_batches(held_out, **shape)
  task = build.make_slm_task(config, spec)
  show = ("loss", "accuracy", "eval/ce_c0", "eval/ce_c0_wrong_semantic")
  _fit(experiment, "slm_train", task, windows, evaluated, folder, show)
  return [PARAMS, CURVES]


def shard(experiment: Experiment, batch_size: int) -> dict[str, Any]:
  """The part of batches of `batch_size` rows that this process reads."""
  part = sharding.batch_shard(experiment.mesh)
  return {
    "batch_size": batch_size // part.count,
    "shard_index": part.index,
    "shard_count": part.count,
  }


def _record_data(experiment, folder):
  splits.write_split(folder / SPLIT, experiment.source.utterances, experiment.split)
  files.write_json(folder / SKIPPED, experiment.skipped)


def _fit(experiment, section, task, data, eval_data, folder, show, on_log=None):
  settings = experiment.config[section]
  config = experiment.config[section.removesuffix("_train")]
  state = train.fit(
    task,
    data,
    steps=settings["steps"],
    workdir=folder,
    mesh=experiment.mesh,
    seed=experiment.seed,
    log_every=settings["log_every"],
    checkpoint_every=settings["checkpoint_every"],
    eval_data=eval_data,
    eval_every=settings["eval_every"],
    eval_batches=settings["eval_batches"],
    show=show,
    desc=folder.name,
    on_log=on_log,
  )
  metadata = {
    "version": jaxcodec.__version__,
    "config": json.dumps(config),
    "sample_rate": str(experiment.spec.sample_rate),
  }
  variables = sharding.to_host(task.inference_variables(state))
  distributed.on_first(lambda: export.save_params(folder / PARAMS, variables, metadata))
