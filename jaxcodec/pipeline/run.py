"""Runs an experiment's stages in order, each on the files of those before it."""

import contextlib
import importlib.metadata
import pathlib
import platform
from typing import Any

from absl import logging

import jaxcodec
from jaxcodec import files, stages
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.resolve import import_modules
from jaxcodec.build.text import with_front_end
from jaxcodec.data.source import DataError
from jaxcodec.evals.results import read_results
from jaxcodec.parallel import processes
from jaxcodec.pipeline import evaluate, train_options
from jaxcodec.pipeline.checks import check, needs, wanted_stages
from jaxcodec.pipeline.experiment import Experiment, data_inputs, open_experiment, plain
from jaxcodec.pipeline.packages import check_packages
from jaxcodec.pipeline.stage_table import PUBLISHED, STAGES
from jaxcodec.report.format import format_table

BAD_INPUT = (ConfigError, DataError, stages.WorkdirInUse)


def run(config: Any, workdir: str | pathlib.Path, *, command: str) -> None:
  """Runs `config.stages` under `workdir` and prints the results' table.

  Args:
    config: a ConfigDict with the fields of configs/dac_maskgit.py.
    workdir: made if it is not there; stages that are complete in it are skipped.
    command: the command line, for the report.

  Raises:
    ConfigError, DataError, WorkdirInUse: before any stage starts.
  """
  config, workdir = plain(config), pathlib.Path(workdir)
  import_modules(config)
  wanted = wanted_stages(config["stages"])
  check_packages(config, wanted)
  config = with_front_end(config)
  with contextlib.ExitStack() as stack:
    with processes.share_failure():
      if processes.is_first():
        stack.enter_context(stages.lock_workdir(workdir))
    with processes.share_failure():
      experiment = open_experiment(config, workdir)
      check(experiment, wanted)
    record = {"config": config, "command": command, "versions": _versions()}
    processes.on_first(lambda: files.write_json(workdir / "config.json", record))
    if experiment.skipped:
      logging.warning("%d recordings are left out", len(experiment.skipped))
    for name in wanted:
      _run_stage(experiment, name)
    processes.on_first(lambda: _announce(workdir, wanted))


def _recorded_config(experiment: Experiment, section: str) -> Any:
  """Returns what a stage's record of its inputs says of a section of the config."""
  if section.endswith("_train"):
    return train_options.recorded_config(experiment, section)
  return experiment.recorded_config(section)


def _run_stage(experiment: Experiment, name: str) -> None:
  stage = STAGES[name]
  inputs = {
    "version": jaxcodec.__version__,
    "seed": experiment.config["seed"],
    "data": data_inputs(experiment),
    "config": {
      part: _recorded_config(experiment, part)
      for part in stage.config
      if part in experiment.config
    },
    "stages": {
      needed: experiment.done[needed].as_input() for needed in needs(experiment, name)
    },
  }

  def work(folder):
    if stage.shared:
      return stage.run(experiment, folder)
    return processes.on_first(lambda: stage.run(experiment, folder))

  done = stages.run_stage(experiment.workdir, name, inputs, work)
  experiment.done[name] = done
  processes.on_first(lambda: _publish(experiment.workdir, done))


def _publish(workdir: pathlib.Path, stage: stages.Stage) -> None:
  for output in PUBLISHED.get(stage.folder.name, ()):
    files.write_bytes(workdir / output, (stage.folder / output).read_bytes())


def _announce(workdir: pathlib.Path, wanted: list[str]) -> None:
  if "evaluate" in wanted:
    results = read_results(workdir / evaluate.RESULTS)
    print(f"\n{format_table(results)}\n")
    print(_summary(results["slm"], results["endings"]) + "\n")
  if "report" in wanted:
    print(f"report: {(workdir / 'report.html').resolve()}")


def _summary(slm: dict[str, Any], endings: dict[str, int]) -> str:
  """Says what the language model's last evaluation found, and what did not end well."""
  numbers = " ".join(f"{value:.3f}" for value in slm["ce_per_codebook"])
  text = f"Held-out cross-entropy of each codebook: {numbers} nats."
  if "gain_per_codebook" in slm:
    gains = " ".join(f"{value:.3f}" for value in slm["gain_per_codebook"])
    text += f" Given another utterance's text or semantic tokens, more by: {gains}."
  if bad := {
    name: count for name, count in endings.items() if name != "ended" and count
  }:
    text += f" Generations that did not end by themselves: {bad}."
  return text


def _versions() -> dict[str, str]:
  names = ("jaxcodec", "jax", "jaxlib", "flax", "optax", "numpy", "grain")
  found = {name: importlib.metadata.version(name) for name in names}
  return {"python": platform.python_version(), **found}
