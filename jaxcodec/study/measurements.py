"""Reads utterances' values from results.json, and aligns them between systems."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcodec.stats.bootstrap import Aligned
from jaxcodec.study.grid import StudyError

# {(seed, utterance id): (value, weight)} of one system's measure.
Measurement = dict[tuple[int, str], tuple[float, float]]
# Metrics of the whole set in results.json of earlier revisions, which don't say it.
_OF_THE_SET = ("codebook_usage", "codebook_perplexity")


def is_of_the_set(results: Mapping[int, Mapping[str, Any]], metric: str) -> bool:
  """Whether a metric's mean is of the whole set's counts, and not of the rows' values.

  Args:
    results: contents of results.json by seed.
    metric: its name there.
  """
  about = next(iter(results.values()))["metrics"].get(metric, {})
  return about.get("of_the_set", metric in _OF_THE_SET)


def measurement(
  results: Mapping[int, Mapping[str, Any]], group: str, metric: str
) -> Measurement:
  """Returns one system's values, without utterances on which the metric failed.

  Args:
    results: contents of results.json by seed.
    group: a set of results.json, such as `reconstruction`.
    metric: its name there.

  Raises:
    StudyError: the rows' mean isn't the file's, so that they lack its weights.
  """
  found: Measurement = {}
  for seed, result in results.items():
    rows = {
      (seed, row["id"]): (row[metric], row.get(f"{metric}_weight", 1.0))
      for row in result["utterances"]
      if row["set"] == group and row.get(metric) is not None
    }
    _check(rows, result[group].get(metric, {}), f"{group}.{metric} of seed {seed}")
    found |= rows
  return found


def _check(rows: Measurement, summary: Mapping[str, Any], name: str) -> None:
  if not rows:
    return
  values, weights = np.array(list(rows.values())).T
  mean = float((values * weights).sum() / weights.sum())
  if not np.isclose(mean, summary["mean"], rtol=1e-9, atol=1e-12):
    raise StudyError(
      f"results.json: the utterances' {name} have the mean {mean:.6g}, the summary says"
      f" {summary['mean']:.6g}: evaluate it again with this version"
    )


def align(measurements: Sequence[Measurement]) -> Aligned:
  """Aligns systems on the utterances (and seeds) that all have, which may be none.

  An utterance's values under several seeds are one unit, as they aren't independent.
  """
  common = sorted(set.intersection(*(set(m) for m in measurements)))
  ids = sorted({name for _, name in common})
  row = {name: index for index, name in enumerate(ids)}
  seeds = sorted({seed for seed, _ in common})
  shape = (2, len(ids), len(measurements))
  sums = {seed: np.zeros(shape) for seed in seeds}
  for seed, name in common:
    for system, values in enumerate(measurements):
      value, weight = values[seed, name]
      sums[seed][:, row[name], system] += (value * weight, weight)
  top_UxM, bottom_UxM = sum(sums.values(), np.zeros(shape))
  by_seed = tuple((top, bottom) for top, bottom in sums.values())
  return Aligned(tuple(ids), top_UxM, bottom_UxM, by_seed if len(seeds) > 1 else ())


def directed(aligned: Aligned, better: str) -> Aligned:
  """Returns the measure, negated if lower is better, so that higher is better."""
  return aligned.scaled(-1.0) if better == "lower" else aligned


def on_common(measures: Mapping[str, Aligned]) -> dict[str, Aligned]:
  """Returns the measures on the utterances that all of them have."""
  common = set.intersection(*(set(a.ids) for a in measures.values()))
  return {
    name: aligned.rows([i for i, one in enumerate(aligned.ids) if one in common])
    for name, aligned in measures.items()
  }
