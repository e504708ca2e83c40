"""Reads and writes results.json, which holds what an experiment measured."""

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

# Every results.json has the first three sets, though one may be empty.
_ALWAYS = ("reconstruction", "generation", "ground_truth")
# Other codecs on the same recordings.
REFERENCE_CODECS = (
  "opus",
  "opus_double",
  "lyra_3200",
  "lyra_6000",
  "lyra_9200",
  "mdct_kmeans",
)
SETS = (*_ALWAYS, *REFERENCE_CODECS)


def build_results(
  evaluations: Mapping[str, SetMeasures],
  metrics: Sequence[Metric],
  *,
  token_spec: Spec | None,
  config: Mapping[str, Any],
  models: Mapping[str, str],
  absent: Mapping[str, str],
) -> dict[str, Any]:
  """Returns the content of results.json.

  Args:
    evaluations: the sets' measures, by a name of SETS; one of the first three that is
      missing becomes {}.
    metrics: all metrics that were asked for, also the absent ones.
    token_spec: of the codec; None for the audio of another one.
    config: the experiment's, as plain data.
    models: sha256 by name, of the metrics' models and the experiment's own weights.
    absent: the install lines of metrics that could not run, by name.

  Raises:
    ValueError: a set is unknown.
  """
  if unknown := set(evaluations) - set(SETS):
    raise ValueError(f"unknown evaluation sets {sorted(unknown)}; known: {SETS}")
  return {
    **{s: {} for s in _ALWAYS},
    **{s: evaluations[s].summary for s in SETS if s in evaluations},
    "token_spec": token_spec and _plain_spec(token_spec),
    "metrics": {m.name: m.describe() for m in metrics},
    "absent": dict(absent),
    "versions": package_versions(metrics),
    "models": dict(sorted(models.items())),
    "config": config,
    "utterances": [
      {"set": s, **row} for s in SETS if s in evaluations for row in evaluations[s].rows
    ],
  }


def _plain_spec(spec: Any) -> dict[str, Any]:
  derived = {"frame_rate": spec.frame_rate, "bitrate": spec.bitrate}
  return {**dataclasses.asdict(spec), **derived}


def package_versions(metrics: Sequence[Metric]) -> dict[str, str]:
  """Returns the versions of Python, this package and the metrics' packages."""
  names = {name for metric in metrics for name in metric.distributions}
  versions = {"python": platform.python_version()}
  for name in sorted({"jaxcodec", "jax", "numpy", "scipy", "soxr", *names}):
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions


def to_json(results: Mapping[str, Any]) -> str:
  """Returns strict JSON (no NaN, no infinity), keys in their own order.

  Raises:
    ValueError: a number is not finite.
    TypeError: a value has no JSON form.
  """
  text = json.dumps(
    results, allow_nan=False, ensure_ascii=False, indent=1, default=_plain
  )
  return text + "\n"


def write_results(path: str | os.PathLike, results: Mapping[str, Any]) -> None:
  """Writes results.json atomically."""
  files.write_text(path, to_json(results))


def read_results(path: str | os.PathLike) -> dict[str, Any]:
  """Reads a results.json.

  Raises:
    ValueError: the file is not JSON.
  """
  return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
  """Converts numpy scalars, arrays and paths to plain data."""
  if isinstance(value, np.generic | np.ndarray):
    return value.tolist()
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  raise TypeError(f"results: {type(value).__name__} has no JSON form: {value!r}")
