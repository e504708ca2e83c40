"""results.json: what an experiment measured, in a layout that other programs read."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcodec import files
from jaxcodec.evals.evaluate import SetMeasures
from jaxcodec.evals.metric import Metric, Spec

# Those that every results.json has, be they empty, and those that are asked for.
_ALWAYS = ("reconstruction", "generation", "ground_truth")
SETS = (*_ALWAYS, "opus", "opus_double")


def build_results(
  evaluations: Mapping[str, SetMeasures],
  metrics: Sequence[Metric],
  *,
  token_spec: Spec,
  config: Mapping[str, Any],
  models: Mapping[str, str],
  absent: Mapping[str, str],
) -> dict[str, Any]:
  """The content of results.json.

  Args:
    evaluations: by name from SETS; of the first three, one that is missing becomes {}.
    metrics: all metrics that were asked for, absent ones too.
    token_spec: of the codec.
    config: the experiment's, as plain data.
    models: sha256 by name, of evaluation models and of the experiment's own weights.
    absent: install line by name of the metrics that did not run.

  Raises:
    ValueError: an unknown set.
  """
  if unknown := set(evaluations) - set(SETS):
    raise ValueError(f"unknown evaluation sets {sorted(unknown)}; known: {SETS}")
  spec = dataclasses.asdict(token_spec)
  return {
    **{s: {} for s in _ALWAYS},
    **{s: evaluations[s].summary for s in SETS if s in evaluations},
    "token_spec": {
      **spec,
      "frame_rate": token_spec.frame_rate,
      "bitrate": token_spec.bitrate,
    },
    "metrics": {m.name: m.describe() for m in metrics},
    "absent": dict(absent),
    "versions": package_versions(metrics),
    "models": dict(sorted(models.items())),
    "config": config,
    "utterances": [
      {"set": s, **row} for s in SETS if s in evaluations for row in evaluations[s].rows
    ],
  }


def package_versions(metrics: Sequence[Metric]) -> dict[str, str]:
  """Versions of Python, of this package and of what the metrics run on."""
  names = {name for metric in metrics for name in metric.distributions}
  versions = {"python": platform.python_version()}
  for name in sorted({"jaxcodec", "jax", "numpy", "scipy", "soxr", *names}):
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions


def to_json(results: Mapping[str, Any]) -> str:
  """Strict JSON (no NaN, no infinity), keys in the order in which they were built.

  Raises:
    ValueError: a number is not finite.
    TypeError: a value has no JSON form.
  """
  text = json.dumps(
    results, allow_nan=False, ensure_ascii=False, indent=1, default=_plain
  )
  return text + "\n"


def write_results(path: str | os.PathLike, results: Mapping[str, Any]) -> None:
  """Writes results.json so that a reader never sees half of it."""
  files.write_text(path, to_json(results))


def read_results(path: str | os.PathLike) -> dict[str, Any]:
  """What `write_results` wrote."""
  return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
  """numpy scalars and arrays, paths."""
  if isinstance(value, np.generic | np.ndarray):
    return value.tolist()
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  raise TypeError(f"results: {type(value).__name__} has no JSON form: {value!r}")
