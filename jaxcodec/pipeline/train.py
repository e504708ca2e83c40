"""The two training stages: the codec, and the speech language model on its tokens."""

import json
import pathlib
from typing import Any

from absl import logging

import jaxcodec
from jaxcodec import files, weights
from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.fields import crop_samples, whole_frames
from jaxcodec.build.slm import make_slm_task, reads_text
from jaxcodec.data import split as splits
from jaxcodec.data.batches import crops as data_pipeline
from jaxcodec.data.batches import token_windows
from jaxcodec.data.batches.continuations import Continuations
from jaxcodec.data.batches.length_buckets import make_buckets
from jaxcodec.data.batches.utterances import utterance_batches
from jaxcodec.data.sources import synthetic
from jaxcodec.data.split import PARTS
from jaxcodec.data.token_store import TokenSource
from jaxcodec.parallel import processes, sharding
from jaxcodec.pipeline import tokens as tokens_stage
from jaxcodec.pipeline import train_options
from jaxcodec.pipeline.experiment import PARAMS, Experiment
from jaxcodec.train import health
from jaxcodec.train.loop import fit

SPLIT, SKIPPED, CURVES = "split.json", "skipped.json", "metrics.jsonl"


def train_codec(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the codec on crops; writes its averaged weights, the split, the curves."""
  config, spec = experiment.config, experiment.spec
  settings, source = config["codec_train"], experiment.source
  processes.on_first(lambda: _record_data(experiment, folder))
  shape = {
    "sample_rate": spec.sample_rate,
    "crop_samples": crop_samples(config, "codec_train", spec),
    **_rows(experiment, settings["batch_size"]),
  }
  if experiment.synthetic:
    del shape["sample_rate"]
    crops, held_out = synthetic.synthetic_crops(seed=experiment.seed, **shape), None
  else:
    crops = data_pipeline.crops(
      source,
      experiment.split["train"],
      seed=experiment.seed,
      workers=config["data"]["workers"],
      **shape,
    )
    held_out = data_pipeline.eval_crops(source, experiment.split["valid"], **shape)
  task = make_codec_task(config)
  show = ("mel", "adversarial", "eval/mel")
  symptoms = (
    health.codebook_collapse(spec.codebook_size),
    health.discriminator_wins(task.undecided),
  )
  _fit(experiment, "codec_train", task, crops, held_out, folder, show, symptoms)
  return [PARAMS, SPLIT, SKIPPED, CURVES]


def train_slm(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the speech language model on tokens; its folder has all that it needs.

  Beside its weights lie copies of the codec's spec and of what makes its inputs: the
  vocabulary of texts, or the tokeniser of semantic tokens.
  """
  config = experiment.config
  text = reads_text(config)
  batches = _utterances if text else _windows
  task = make_slm_task(config, experiment.spec, experiment.vocabulary)
  more = ("ar_loss", "nar_loss") if text else ("accuracy", "eval/ce_c0_wrong_semantic")
  show = ("loss", "eval/loss", *more)
  if experiment.synthetic:
    data = _synthetic_tokens(experiment)
    _fit(experiment, "slm_train", task, data, None, folder, show)
    return [PARAMS, CURVES]
  tokens = experiment.done["tokens"].folder
  parts = [TokenSource(tokens / f"{name}.array_record") for name in PARTS[:2]]
  data = batches(experiment, *parts)
  _fit(experiment, "slm_train", task, *data, folder, show)
  copies = [
    tokens_stage.SPEC,
    tokens_stage.VOCABULARY if text else tokens_stage.SEMANTIC,
  ]
  processes.on_first(lambda: _copy(copies, tokens, folder))
  return [PARAMS, CURVES, *copies]


def _copy(names, source, target):
  for name in names:
    files.write_bytes(target / name, (source / name).read_bytes())


def _windows(experiment, train_tokens, held_out):
  """Windows of one length, to train on and to measure."""
  shape = _window_shape(experiment)
  return (
    token_windows.token_batches(train_tokens, seed=experiment.seed, **shape),
    token_windows.eval_token_batches(held_out, **shape),
  )


def _utterances(experiment, train_tokens, held_out):
  """Whole utterances with their texts; those to measure in batches of one shape."""
  config, seed = experiment.config, experiment.seed
  asked = config["slm_train"]
  settings = {
    "budget": asked["frames_per_batch"],
    "max_frames": whole_frames(config, "slm_train", "max_seconds", experiment.spec),
    "rows_multiple": sharding.batch_parallelism(experiment.mesh) * asked["accumulate"],
  }
  train_tokens = Continuations(train_tokens, times=asked["continuations"], seed=seed)
  buckets = make_buckets(train_tokens, num_buckets=asked["num_buckets"], **settings)
  one_bucket = make_buckets(held_out, num_buckets=1, **settings)
  settings = {"seed": seed, **_shard(experiment)}
  return (
    utterance_batches(train_tokens, buckets, **settings),
    utterance_batches(held_out, one_bucket, repeat=False, **settings),
  )


def _tell_codebooks(step: int, values: dict[str, Any]) -> None:
  """Logs what was measured for each codebook; for the loop's `on_log`."""
  if "eval/ce_per_codebook" in values:
    told = [
      " ".join(f"{value:.3f}" for value in values[f"eval/{name}_per_codebook"])
      for name in ("ce", "accuracy")
    ]
    logging.info(
      "step %d: held-out cross-entropy of each codebook %s nats, accuracy %s",
      *(step, *told),
    )


def _window_shape(experiment):
  config, spec = experiment.config, experiment.spec
  return {
    **_rows(experiment, config["slm_train"]["batch_size"]),
    "frames": whole_frames(config, "slm_train", "crop_seconds", spec),
  }


def _synthetic_tokens(experiment):
  spec, semantic = experiment.spec, experiment.config["semantic"]
  return synthetic.synthetic_tokens(
    num_codebooks=spec.num_codebooks,
    codebook_size=spec.codebook_size,
    num_semantic=semantic["num_clusters"],
    seed=experiment.seed,
    **_window_shape(experiment),
  )


def _shard(experiment: Experiment) -> dict[str, int]:
  """Which part of all batches this process reads."""
  part = sharding.batch_part(experiment.mesh)
  return {"shard_index": part.index, "shard_count": part.count}


def _rows(experiment: Experiment, batch_size: int) -> dict[str, int]:
  """Its rows of batches of one size."""
  shard = _shard(experiment)
  return {"batch_size": batch_size // shard["shard_count"], **shard}


def _record_data(experiment, folder):
  splits.write_split(folder / SPLIT, experiment.source.utterances, experiment.split)
  files.write_json(folder / SKIPPED, experiment.skipped)


def _fit(experiment, section, task, data, eval_data, folder, show, symptoms=()):
  config = experiment.config[section.removesuffix("_train")]
  watch = health.Watch([*symptoms, health.input_starved()])

  def on_log(step, values):
    watch(step, values)
    _tell_codebooks(step, values)

  state = fit(
    task,
    data,
    steps=experiment.config[section]["steps"],
    workdir=folder,
    mesh=experiment.mesh,
    seed=experiment.seed,
    eval_data=eval_data,
    init_from=train_options.first(experiment, folder.name),
    show=show,
    desc=folder.name,
    on_log=on_log,
    **train_options.options(experiment, section),
  )
  metadata = {
    "version": jaxcodec.__version__,
    "config": json.dumps(config),
    "sample_rate": str(experiment.spec.sample_rate),
  }
  variables = sharding.to_host(task.inference_variables(state))
  processes.on_first(lambda: weights.save_params(folder / PARAMS, variables, metadata))
