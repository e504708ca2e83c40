"""Checks that run before the first stage."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jax.sharding import Mesh

from jaxcodec import stages
from jaxcodec.build.batch_rows import check_batch_size
from jaxcodec.build.check import check_shapes
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.slm import make_batches
from jaxcodec.data.source import DataError
from jaxcodec.data.text.languages import DEFAULT, is_english
from jaxcodec.parallel import sharding
from jaxcodec.pipeline import (
  evaluate,
  prompts,
  reference_codecs,
  train_options,
  yardstick,
)
from jaxcodec.pipeline.experiment import Experiment, data_inputs
from jaxcodec.pipeline.prompt_list import read_prompt_list
from jaxcodec.pipeline.shared_codec import GENERATED
from jaxcodec.pipeline.stage_table import STAGES
from jaxcodec.types import TokenSpec


def check(experiment: Experiment, wanted: list[str]) -> None:
  """Finds what would otherwise fail after hours of training or minutes of compiling.

  Args:
    experiment: whose `done` gets the complete stages that the wanted ones need.
    wanted: the stages to run.

  Raises:
    ConfigError, DataError: naming the field or file.
  """
  for name in ("reconstruction", "generation"):
    try:
      evaluate.metrics_of_set(experiment.config, experiment.spec, name)
    except ConfigError:
      raise
    except ValueError as error:
      raise ConfigError(f"evaluate.{name}: {error}") from error
  reference_codecs.check(experiment)
  read_prompt_list(experiment)
  for section in ("codec_train", "slm_train"):
    train_options.loop_options(experiment, section)
  check_language(experiment.config)
  if trained := [name for name in ("codec", "slm") if name in wanted]:
    check_batches(experiment.config, experiment.mesh, experiment.spec, trained)
  available = set()
  for name in wanted:
    for needed in needs(experiment, name):
      if needed in wanted or needed in available:
        continue
      stage = stages.load_stage(experiment.workdir, needed)
      if stage is None:
        raise ConfigError(
          f"stages: {name!r} needs {needed!r}, which is not complete in"
          f" {experiment.workdir}; run it too"
        )
      experiment.done[needed] = stage
      available.add(needed)
  if "tokens" in wanted:
    _ = experiment.semantic_features  # reads HuBERT's weights
    done = stages.load_stage(experiment.workdir, "tokens") is not None
    data = data_inputs(experiment)
    if not (done and stages.is_of(experiment.workdir, "tokens", "data", data)):
      # All texts are spoken out now: a bad one is not found after hours of training.
      check_texts(experiment)
  if "evaluate" in wanted:
    yardstick.check(experiment)
  if "generate" in wanted and not experiment.synthetic:
    check_lengths(experiment)
  if "slm" in wanted and not experiment.synthetic:
    check_lengths_to_train(experiment)
  if "codec" in wanted:
    check_shapes(experiment.config, experiment.models.codec_task)
  for name in {"codec", "slm"} & set(wanted):
    train_options.initial_variables(experiment, name)


def check_language(config: Mapping[str, Any]) -> None:
  """Checks that the embedded corpus isn't spelled as another language than its own.

  Raises:
    ConfigError: naming the field.
  """
  language = config["text"]["language"] if "text" in config else DEFAULT
  if config["data"]["source"] == "embedded" and not is_english(language):
    raise ConfigError(
      f"text.language: data.source='embedded' speaks English, got {language!r}; give"
      " recordings by data.source=folder and data.path"
    )


def needs(experiment: Experiment, name: str) -> tuple[str, ...]:
  """Returns the stages that a stage needs: none with synthetic data.

  Where codes of another experiment are to be spoken, `generate` needs them, too, and
  a language model that begins with the codebooks needs the codec.

  Raises:
    ConfigError: the stage cannot use synthetic data.
  """
  if not experiment.synthetic:
    found = STAGES[name].needs
    if name == "generate" and (experiment.workdir / GENERATED).exists():
      return (*found, GENERATED)
    begun = name == "slm" and experiment.config["slm_train"].get("codebook_start")
    return (*found, "codec") if begun else found
  if name not in ("codec", "slm"):
    raise ConfigError(
      f"stages: {name!r} needs recordings, and data.source=synthetic has none; it times"
      " training, with stages=codec,slm"
    )
  if name == "slm" and experiment.language_model.condition.needs_text:
    raise ConfigError(
      f"stages: 'slm' with slm.name={experiment.config['slm']['name']!r} needs texts,"
      " and data.source=synthetic has none"
    )
  return ()


def check_batches(
  config: Mapping[str, Any],
  mesh: Mesh,
  spec: TokenSpec,
  trained: Sequence[str] = ("codec", "slm"),
) -> None:
  """Checks that the devices can share the batches of the stages that are `trained`.

  Raises:
    ConfigError: naming the field.
  """
  parallel = sharding.batch_parallelism(mesh)
  if "codec" in trained:
    train = config["codec_train"]
    check_batch_size("codec_train", train["batch_size"], parallel, train["accumulate"])
  if "slm" in trained:
    parts = config["slm_train"]["accumulate"]
    make_batches(config).check_devices(spec, parallel, parts)


def check_lengths(experiment: Experiment) -> None:
  """Raises DataError if no test recording is as long as `generate` wants them."""
  settings, utterances = experiment.config["generate"], experiment.source.utterances
  least, longest = prompts.bounds(settings)
  seconds = [utterances[index].seconds for index in experiment.split["test"]]
  # A recording that is resampled may be some samples longer or shorter.
  if not any(least - 0.01 <= one <= longest + 0.01 for one in seconds):
    raise DataError(
      f"data: none of the {len(seconds)} test recordings has generate.min_seconds to"
      f" max_seconds, {least:g} to {longest:g} s; the longest has"
      f" {max(seconds, default=0):.1f} s"
    )


def check_lengths_to_train(experiment: Experiment) -> None:
  """Raises DataError if `slm_train.max_seconds` leaves no recording of a part."""
  most = experiment.config["slm_train"].get("max_seconds")
  for part in ("train", "valid") if most is not None else ():
    utterances = (experiment.source.utterances[i] for i in experiment.split[part])
    shortest = min((one.seconds for one in utterances), default=math.inf)
    if shortest > most + 0.01:
      raise DataError(
        f"data: no recording of the {part} part has at most slm_train.max_seconds,"
        f" {most:g} s; the shortest has {shortest:.1f} s"
      )


def check_texts(experiment: Experiment) -> None:
  """Raises DataError unless every part has texts, if the language model reads them."""
  text_ids = experiment.text_ids
  needed = experiment.language_model.condition.needs_text
  for part, indices in experiment.split.items():
    if needed and not text_ids.keys() & set(indices):
      raise DataError(
        f"data: none of the {len(indices)} recordings of the {part} part has a text,"
        " which the language model of slm.name is to speak"
      )


def wanted_stages(text: str) -> list[str]:
  """Parses `config.stages`, names with commas between, into the order of running.

  Raises:
    ConfigError: an unknown name.
  """
  names = [name.strip() for name in text.split(",")]
  if unknown := [name for name in names if name not in STAGES]:
    raise ConfigError(f"stages: {unknown[0]!r} is unknown; known: {','.join(STAGES)}")
  return [name for name in STAGES if name in names]
