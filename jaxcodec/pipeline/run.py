"""Runs an experiment's stages in order, each from what the ones before left."""

import contextlib
import importlib.metadata
import pathlib
import platform
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import logging
from jax.sharding import Mesh

import jaxcodec
from jaxcodec import (
  build,
  build_slm,
  distributed,
  evals,
  files,
  sharding,
  stages,
  text_config,
)
from jaxcodec.config_fields import ConfigError, whole_frames
from jaxcodec.data.source import DataError
from jaxcodec.pipeline import evaluation, generation, loop, tokens, training
from jaxcodec.pipeline.experiment import Experiment, data_inputs, open_experiment, plain
from jaxcodec.types import TokenSpec

BAD_INPUT = (ConfigError, DataError, stages.WorkdirInUse)


class _Stage(NamedTuple):
  """A stage: what it does, the stages it needs, and the config that it depends on.

  Of several processes, all run it if it is `shared`, otherwise the first.
  """

  run: Callable[[Experiment, pathlib.Path], list[str]]
  needs: tuple[str, ...] = ()
  config: tuple[str, ...] = ()
  shared: bool = True


def _report(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  from jaxcodec.evals.report import write_report  # no start waits for matplotlib

  write_report(experiment.workdir)
  for name in _PUBLISHED["report"]:
    shutil.copyfile(experiment.workdir / name, folder / name)
  return list(_PUBLISHED["report"])


# Outputs that stand at the top of the work directory too.
_PUBLISHED = {
  "evaluate": (evaluation.RESULTS,),
  "report": ("report.html", "report.md"),
}
STAGES = {
  "codec": _Stage(training.train_codec, (), ("codec", "codec_train")),
  "tokens": _Stage(tokens.write_all, ("codec",), ("codec", "semantic", "text")),
  "slm": _Stage(training.train_slm, ("tokens",), ("slm", "slm_train")),
  "generate": _Stage(
    *(generation.generate_all, ("codec", "tokens", "slm"), ("generate",)),
    shared=False,
  ),
  "evaluate": _Stage(
    *(evaluation.evaluate_all, ("codec", "tokens", "slm", "generate"), ("evaluate",)),
    shared=False,
  ),
  "report": _Stage(_report, ("evaluate", "generate", "codec", "slm"), shared=False),
}


def run(config: Any, workdir: str | pathlib.Path, *, command: str) -> None:
  """Runs `config.stages` under `workdir` and prints the results' table.

  Args:
    config: a ConfigDict with the fields of configs/dac_maskgit.py.
    workdir: made if it is not there; stages that are complete in it are skipped.
    command: the command line, for the report.

  Raises:
    ConfigError, DataError, WorkdirInUse: before any stage starts.
  """
  config, workdir = text_config.with_front_end(plain(config)), pathlib.Path(workdir)
  wanted = _wanted(config["stages"])
  with contextlib.ExitStack() as stack:
    with distributed.together():
      if distributed.is_first():
        stack.enter_context(stages.lock_workdir(workdir))
    with distributed.together():
      experiment = open_experiment(config, workdir)
      _check(experiment, wanted)
    record = {"config": config, "command": command, "versions": _versions()}
    distributed.on_first(lambda: files.write_json(workdir / "config.json", record))
    if experiment.skipped:
      logging.warning("%d recordings are left out", len(experiment.skipped))
    for name in wanted:
      _run_stage(experiment, name)
    distributed.on_first(lambda: _announce(workdir, wanted))


def _wanted(text: str) -> list[str]:
  names = [name.strip() for name in text.split(",")]
  if unknown := [name for name in names if name not in STAGES]:
    raise ConfigError(f"stages: {unknown[0]!r} is unknown; known: {','.join(STAGES)}")
  return [name for name in STAGES if name in names]


def _check(experiment: Experiment, wanted: list[str]) -> None:
  """What would only be found out after hours of training, or minutes of compiling."""
  for name in ("reconstruction", "generation"):
    try:
      evaluation.make_metrics(experiment, name)
    except ConfigError:
      raise
    except ValueError as error:
      raise ConfigError(f"evaluate.{name}: {error}") from error
  bitrate = experiment.spec.bitrate
  if experiment.config["evaluate"]["opus"] and bitrate < evals.MIN_BITRATE:
    raise ConfigError(
      f"evaluate.opus: Opus takes {evals.MIN_BITRATE} bit/s or more, the codec has"
      f" {bitrate:g}"
    )
  for section in ("codec_train", "slm_train"):
    loop.options(experiment, section)
  check_batches(experiment.config, experiment.mesh, experiment.spec)
  available = set()
  for name in wanted:
    for needed in _needs(experiment, name):
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
    if stages.load_stage(experiment.workdir, "tokens") is None:
      # All texts are spoken out now: a bad one is not found after hours of training.
      _check_texts(experiment)
  if "codec" in wanted:
    build.check_shapes(experiment.config)
  for name in {"codec", "slm"} & set(wanted):
    loop.first(experiment, name)


def _needs(experiment: Experiment, name: str) -> tuple[str, ...]:
  """The stages that a stage needs: none with synthetic data, which few can use."""
  if not experiment.synthetic:
    return STAGES[name].needs
  if name not in ("codec", "slm"):
    raise ConfigError(
      f"stages: {name!r} needs recordings, and data.source=synthetic has none; it times"
      " training, with stages=codec,slm"
    )
  if name == "slm" and build_slm.reads_text(experiment.config):
    raise ConfigError(
      "stages: 'slm' with slm.name='valle' needs texts, and data.source=synthetic has"
      " none"
    )
  return ()


def _recorded(experiment: Experiment, part: str) -> Any:
  of_loop = part.endswith("_train")
  return loop.recorded(experiment, part) if of_loop else experiment.recorded(part)


def check_batches(
  config: dict[str, Any],
  mesh: Mesh,
  spec: TokenSpec,
  trained: Sequence[str] = ("codec", "slm"),
) -> None:
  """Whether the devices can share the batches of the stages that are `trained`.

  Raises:
    ConfigError: naming the field.
  """
  parallel = sharding.batch_parallelism(mesh)
  for section in (f"{name}_train" for name in trained):
    size = config[section].get("batch_size", 0)  # of windows; 0 of whole utterances
    if size % (parallel * (parts := config[section]["accumulate"])):
      raise ConfigError(
        f"{section}.batch_size ({size}) must be a multiple of the {parallel} devices"
        f" that share a batch (see mesh) times {section}.accumulate ({parts})"
      )
  if "slm" in trained and build_slm.reads_text(config):
    frames = whole_frames(config, "slm_train", "max_seconds", spec)
    rows = parallel * config["slm_train"]["accumulate"]
    if (budget := config["slm_train"]["frames_per_batch"]) < frames * rows:
      raise ConfigError(
        f"slm_train.frames_per_batch ({budget}) must hold {rows} utterances, one"
        " for each device that shares a batch and each of slm_train.accumulate parts,"
        f" of slm_train.max_seconds ({frames} frames)"
      )


def _check_texts(experiment: Experiment) -> None:
  """Whether every part has texts, where the language model reads them."""
  text_ids = experiment.text_ids
  for part, indices in experiment.split.items():
    if build_slm.reads_text(experiment.config) and not text_ids.keys() & set(indices):
      raise DataError(
        f"data: none of the {len(indices)} recordings of the {part} part has a text,"
        " which the language model of slm.name is to speak"
      )


def _run_stage(experiment: Experiment, name: str) -> None:
  stage = STAGES[name]
  inputs = {
    "version": jaxcodec.__version__,
    "seed": experiment.config["seed"],
    "data": data_inputs(experiment),
    "config": {
      part: _recorded(experiment, part)
      for part in stage.config
      if part in experiment.config
    },
    "stages": {
      needed: experiment.done[needed].as_input() for needed in _needs(experiment, name)
    },
  }

  def work(folder):
    if stage.shared:
      return stage.run(experiment, folder)
    return distributed.on_first(lambda: stage.run(experiment, folder))

  done = stages.run_stage(experiment.workdir, name, inputs, work)
  experiment.done[name] = done
  distributed.on_first(lambda: _publish(experiment.workdir, done))


def _publish(workdir: pathlib.Path, stage: stages.Stage) -> None:
  for output in _PUBLISHED.get(stage.folder.name, ()):
    files.write_bytes(workdir / output, (stage.folder / output).read_bytes())


def _announce(workdir: pathlib.Path, wanted: list[str]) -> None:
  if "evaluate" in wanted:
    results = evals.read_results(workdir / evaluation.RESULTS)
    print(f"\n{evals.format_table(results)}\n")
    print(_told(results["slm"], results["endings"]) + "\n")
  if "report" in wanted:
    print(f"report: {(workdir / 'report.html').resolve()}")


def _told(slm: dict[str, Any], endings: dict[str, int]) -> str:
  """What the language model's last evaluation found, and what did not end well."""
  numbers = " ".join(f"{value:.3f}" for value in slm["ce_per_codebook"])
  text = f"Held-out cross-entropy of each codebook: {numbers} nats."
  if "ce_c0_wrong_semantic" in slm:
    text += (
      f" Of the first, given another utterance's semantic tokens:"
      f" {slm['ce_c0_wrong_semantic']:.3f}."
    )
  if bad := {
    name: count for name, count in endings.items() if name != "ended" and count
  }:
    text += f" Generations that did not end by themselves: {bad}."
  return text


def _versions() -> dict[str, str]:
  names = ("jaxcodec", "jax", "jaxlib", "flax", "optax", "numpy", "grain")
  found = {name: importlib.metadata.version(name) for name in names}
  return {"python": platform.python_version(), **found}
