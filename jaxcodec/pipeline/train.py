"""The two training stages: the codec, and the speech language model on its tokens."""

import functools
import json
import pathlib
from typing import Any

from absl import logging

import jaxcodec
from jaxcodec import files, weights
from jaxcodec.build import batch_rows
from jaxcodec.build.fields import ConfigError, crop_samples
from jaxcodec.build.slm import make_batches
from jaxcodec.data import held_out
from jaxcodec.data import split as splits
from jaxcodec.data.batches import crops as data_pipeline
from jaxcodec.data.sources import synthetic
from jaxcodec.data.split import PARTS
from jaxcodec.data.token_store import TokenSource
from jaxcodec.parallel import processes, sharding
from jaxcodec.pipeline import codec_start, slm_start, train_options
from jaxcodec.pipeline import tokens as tokens_stage
from jaxcodec.pipeline.experiment import PARAMS, SPLIT, Experiment
from jaxcodec.train import health
from jaxcodec.train.held_out import UnknownMetric
from jaxcodec.train.loop import fit

SKIPPED, CURVES = "skipped.json", "metrics.jsonl"


def train_codec(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the codec on crops; writes averaged weights, the split and the curves.

  Held-out recordings are measured in pieces of `eval_crops` crops.
  Of no steps, the weights are those to begin with, and there are no curves.
  """
  config, spec = experiment.config, experiment.spec
  settings, source = config["codec_train"], experiment.source
  processes.on_first(lambda: _record_data(experiment, folder))
  shape = {
    "sample_rate": spec.sample_rate,
    "crop_samples": crop_samples(config, "codec_train", spec),
  }
  initial = functools.partial(
    codec_start.initial_variables,
    experiment,
    lambda rows: _crops(experiment, **shape, batch_size=rows),
  )
  if not settings["steps"]:
    _write_params(experiment, "codec_train", initial(), folder)
    return [PARAMS, SPLIT, SKIPPED]
  shard = batch_rows.rows(experiment.mesh, settings["batch_size"])
  data = _crops(experiment, **shape, **shard), None
  if not experiment.synthetic:
    # Configs of earlier revisions don't say how many.
    samples = shape["crop_samples"] * settings.get("eval_crops", 1)
    longer = {**shape, "crop_samples": samples}
    valid = _in_chance_order(source, experiment.split["valid"])
    data = data[0], data_pipeline.eval_crops(source, valid, **longer, **shard)
  task = experiment.models.codec_task
  show = ("mel", "magnitude", "adversarial", "eval/mel")
  symptoms = (
    health.codebook_collapse(spec.codebook_size),
    health.discriminator_wins(task.guessing_loss),
  )
  _fit(experiment, "codec_train", task, *data, folder, show, symptoms, initial=initial)
  return [PARAMS, SPLIT, SKIPPED, CURVES]


def _in_chance_order(source, indices):
  """Returns indices in an order by which the first ones are of many speakers."""
  order = held_out.by_chance([source.utterances[index].id for index in indices])
  return [indices[place] for place in order]


def _crops(experiment, *, sample_rate, **shape):
  """Returns endless batches of random crops of the training recordings, or of noise."""
  if experiment.synthetic:
    return synthetic.synthetic_crops(seed=experiment.seed, **shape)
  return data_pipeline.crops(
    experiment.source,
    experiment.split["train"],
    seed=experiment.seed,
    workers=experiment.config["data"]["workers"],
    sample_rate=sample_rate,
    **shape,
  )


def train_slm(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the speech language model on tokens; its folder has all that it needs.

  Beside its weights lie a copy of the codec's spec and what makes its inputs: the
  vocabulary of texts, or the tokeniser of semantic tokens.
  """
  config, kind = experiment.config, experiment.language_model
  task, batches = experiment.models.slm_task, make_batches(config)
  show = ("loss", "eval/loss", *kind.progress)
  initial = functools.partial(slm_start.initial_variables, experiment)
  setting = {
    "spec": experiment.spec,
    "mesh": experiment.mesh,
    "seed": experiment.seed,
  }
  if experiment.synthetic:
    data = batches.make_synthetic(config["semantic"]["num_clusters"], **setting)
    _fit(experiment, "slm_train", task, data, None, folder, show, initial=initial)
    return [PARAMS, CURVES]
  tokens = experiment.done["tokens"].folder
  parts = [TokenSource(tokens / f"{name}.array_record") for name in PARTS[:2]]
  data = batches.make(*parts, accumulate=config["slm_train"]["accumulate"], **setting)
  _fit(experiment, "slm_train", task, *data, folder, show, initial=initial)

  def keep():
    spec = (tokens / tokens_stage.SPEC).read_bytes()
    files.write_bytes(folder / tokens_stage.SPEC, spec)
    kind.condition.keep(tokens, folder, parts[0], experiment.spec)

  processes.on_first(keep)
  return [PARAMS, CURVES, tokens_stage.SPEC, kind.condition.file]


def _log_codebooks(step: int, values: dict[str, Any]) -> None:
  """Logs held-out cross-entropy, accuracy and gain by codebook, where measured."""
  if "eval/ce_per_codebook" in values:
    ce, accuracy, gain = (
      " ".join(f"{x:.3f}" for x in values.get(f"eval/{name}_per_codebook", ()))
      for name in ("ce", "accuracy", "gain")
    )
    logging.info(
      "step %d: held-out cross-entropy of each codebook %s nats, accuracy %s, more"
      " nats with a wrong condition %s",
      step,
      ce,
      accuracy,
      gain or "unknown",
    )


def _record_data(experiment, folder):
  splits.write_split(folder / SPLIT, experiment.source.utterances, experiment.split)
  files.write_json(folder / SKIPPED, experiment.skipped)


def _fit(
  experiment, section, task, data, eval_data, folder, show, symptoms=(), initial=None
):
  steps = experiment.config[section]["steps"]
  watch = health.Watch([*symptoms, health.input_starved()])
  watch_end = health.Watch([health.condition_ignored()])

  def on_log(step, values):
    watch(step, values)
    if step == steps:
      watch_end(step, values)
    _log_codebooks(step, values)

  try:
    state = fit(
      task,
      data,
      steps=steps,
      workdir=folder,
      mesh=experiment.mesh,
      seed=experiment.seed,
      eval_data=eval_data,
      init_from=initial,
      show=show,
      desc=folder.name,
      on_log=on_log,
      **train_options.loop_options(experiment, section),
    )
  except UnknownMetric as error:
    raise ConfigError(f"{section}.best: {error}") from error
  variables = sharding.to_host(task.inference_variables(state))
  _write_params(experiment, section, variables, folder)


def _write_params(experiment, section, variables, folder):
  config = experiment.config[section.removesuffix("_train")]
  metadata = {
    "version": jaxcodec.__version__,
    "config": json.dumps(config),
    "sample_rate": str(experiment.spec.sample_rate),
  }
  processes.on_first(lambda: weights.save_params(folder / PARAMS, variables, metadata))
