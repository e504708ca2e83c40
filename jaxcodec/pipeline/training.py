"""The two training stages: the codec, and the speech language model on its tokens."""

import json
import pathlib

import jaxcodec
from jaxcodec import build, export, files, health, train
from jaxcodec.data import pipeline as data_pipeline
from jaxcodec.data import split as splits
from jaxcodec.data import synthetic, token_batches
from jaxcodec.data.token_store import TokenSource
from jaxcodec.pipeline import loop
from jaxcodec.pipeline.experiment import PARAMS, Experiment

SPLIT, SKIPPED, CURVES = "split.json", "skipped.json", "metrics.jsonl"


def train_codec(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the codec on crops; writes its averaged weights, the split, the curves."""
  config, spec = experiment.config, experiment.spec
  settings, source = config["codec_train"], experiment.source
  splits.write_split(folder / SPLIT, source.utterances, experiment.split)
  files.write_json(folder / SKIPPED, experiment.skipped)
  shape = {
    "sample_rate": spec.sample_rate,
    "crop_samples": build.crop_samples(config, "codec_train", spec),
    "batch_size": settings["batch_size"],
  }
  if experiment.synthetic:
    del shape["sample_rate"]
    crops, held_out = synthetic.synthetic_crops(seed=experiment.seed, **shape), None
  else:
    crops = data_pipeline.crops(
      source, experiment.split["train"], seed=experiment.seed, **shape
    )
    held_out = data_pipeline.eval_crops(source, experiment.split["valid"], **shape)
  task = build.make_codec_task(config)
  show = ("mel", "adversarial", "eval/mel")
  symptoms = (
    health.codebook_collapse(spec.codebook_size),
    health.discriminator_wins(task.undecided),
  )
  _fit(experiment, "codec_train", task, crops, held_out, folder, show, symptoms)
  return [PARAMS, SPLIT, SKIPPED, CURVES]


def train_slm(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Trains the speech language model on windows of tokens."""
  config, spec = experiment.config, experiment.spec
  settings = config["slm_train"]
  shape = {
    "batch_size": settings["batch_size"],
    "frames": build.crop_samples(config, "slm_train", spec) // spec.hop,
  }
  if experiment.synthetic:
    windows, evaluated = _synthetic_tokens(experiment, shape), None
  else:
    tokens = experiment.done["tokens"].folder
    train_tokens = TokenSource(tokens / "train.array_record")
    held_out = TokenSource(tokens / "valid.array_record")
    windows = token_batches.token_batches(train_tokens, seed=experiment.seed, **shape)
    evaluated = token_batches.eval_token_batches(held_out, **shape)
  task = build.make_slm_task(config, spec)
  show = ("loss", "accuracy", "eval/ce_c0", "eval/ce_c0_wrong_semantic")
  _fit(experiment, "slm_train", task, windows, evaluated, folder, show)
  return [PARAMS, CURVES]


def _synthetic_tokens(experiment, shape):
  spec, semantic = experiment.spec, experiment.config["semantic"]
  return synthetic.synthetic_tokens(
    num_codebooks=spec.num_codebooks,
    codebook_size=spec.codebook_size,
    num_semantic=semantic["num_clusters"],
    seed=experiment.seed,
    **shape,
  )


def _fit(experiment, section, task, data, eval_data, folder, show, symptoms=()):
  config = experiment.config[section.removesuffix("_train")]
  state = train.fit(
    task,
    data,
    steps=experiment.config[section]["steps"],
    workdir=folder,
    mesh=experiment.mesh,
    seed=experiment.seed,
    eval_data=eval_data,
    init_from=loop.first(experiment, folder.name),
    show=show,
    desc=folder.name,
    on_log=health.Watch([*symptoms, health.input_starved()]),
    **loop.options(experiment, section),
  )
  metadata = {
    "version": jaxcodec.__version__,
    "config": json.dumps(config),
    "sample_rate": str(experiment.spec.sample_rate),
  }
  export.save_params(folder / PARAMS, task.inference_variables(state), metadata)
