"""Runs an experiment's stages in order, each on the files of those before it."""

import contextlib
import functools
import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Mapping
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
from jaxcodec.pipeline import evaluate
from jaxcodec.pipeline.checks import check, needs, wanted_stages
from jaxcodec.pipeline.experiment import (
  Experiment,
  data_inputs,
  open_experiment,
  plain,
  with_tuples,
)
from jaxcodec.pipeline.packages import check_packages
from jaxcodec.pipeline.records import recorded_config
from jaxcodec.pipeline.stage_table import PUBLISHED, STAGES
from jaxcodec.report.format import format_table

_UTMOS = "utmos"
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
  config = plain(config)
  _run(config, pathlib.Path(workdir), wanted_stages(config["stages"]), command)


def evaluate_again(workdir: str | pathlib.Path, changes: Mapping[str, Any]) -> None:
  """Measures a finished experiment again, and writes its report anew.

  Results, report and config in the work directory stay as they are until the new ones
  are whole. The folder of the stage is moved aside, as where a config has changed.

  Args:
    workdir: of the experiment, whose data must be where they were.
    changes: fields of `config.evaluate` that get other values; with `utmos` it is
      measured, too.

  Raises:
    ConfigError, DataError, WorkdirInUse: before any work.
  """
  workdir = pathlib.Path(workdir)
  path = workdir / "config.json"
  if not path.is_file():
    raise ConfigError(f"{workdir}: expected a work directory with a config.json")
  try:
    record = json.loads(path.read_text(encoding="utf-8"))
    config, command = with_tuples(record["config"]), record["command"]
    config = {**config, "evaluate": _changed(config["evaluate"], changes)}
    versions = record["versions"]
  except (ValueError, KeyError, TypeError) as error:
    raise ConfigError(f"{path}: is not of an experiment: {error!r}") from error
  _run(config, workdir, ["evaluate", "report"], command, trained_by=versions)


def _changed(settings: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
  settings = {**settings, **changes}
  if changes.get(_UTMOS):
    for name in ("reconstruction", "generation"):
      settings[name] = tuple(dict.fromkeys((*settings[name], _UTMOS)))
  return settings


def _run(config, workdir, wanted, command, *, trained_by=None) -> None:
  """Runs the wanted stages.

  With the versions that an experiment was trained by, which stay in its record, also
  those stages that are complete.
  """
  again = trained_by is not None
  import_modules(config)
  check_packages(config, wanted)
  config = with_front_end(config)
  with contextlib.ExitStack() as stack:
    with processes.share_failure():
      if processes.is_first():
        stack.enter_context(stages.lock_workdir(workdir))
        files.remove_abandoned(workdir)
    with processes.share_failure():
      experiment = open_experiment(config, workdir)
      check(experiment, wanted)
    _check_equal_data(experiment)
    versions = trained_by if again else _versions()
    record = {"config": config, "command": command, "versions": versions}
    keep = functools.partial(files.write_json, workdir / "config.json", record)
    if not again:
      processes.on_first(keep)
    if experiment.skipped:
      logging.warning("%d recordings are left out", len(experiment.skipped))
    for name in wanted:
      if again:
        processes.on_first(functools.partial(stages.forget, workdir, name))
      _run_stage(experiment, name)
      if again and name == "evaluate":
        processes.on_first(keep)  # which the report is about
    processes.on_first(lambda: _announce(workdir, wanted))


def _check_equal_data(experiment: Experiment) -> None:
  """Raises DataError in all processes unless all of them read the same recordings.

  With `data.on_error=skip` one of them may have left out what it alone couldn't read;
  batches and pieces of all would be of other recordings than those they are told of.
  """
  own = "" if experiment.synthetic else experiment.source.fingerprint
  found = processes.gather(own)
  if others := [number for number, one in enumerate(found) if one != found[0]]:
    raise DataError(
      f"data: processes {others} read other recordings than process 0 (fingerprints"
      f" {sorted(set(found))}); with data.on_error=raise they say which they can't read"
    )


def _run_stage(experiment: Experiment, name: str) -> None:
  stage = STAGES[name]
  inputs = {
    "version": jaxcodec.__version__,
    "seed": experiment.config["seed"],
    "data": data_inputs(experiment),
    "config": {
      part: recorded_config(experiment, part)
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
