"""A system's means with intervals, over its seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcodec.stats.bootstrap import statistic
from jaxcodec.study.measurements import align, is_of_the_set, measurement


def summarise(results: Mapping[int, Mapping[str, Any]], group: str) -> dict[str, Any]:
  """Returns one system's measures of a set.

  With one seed they are those of results.json. With several, values are pooled over
  seeds, and the interval is over seeds and utterances. `seeds` has each seed's mean.

  Args:
    results: contents of results.json by seed.
    group: a set of results.json.

  Returns:
    {"mean", "ci95", "n", "n_failed", "seeds": {seed: mean}} by metric.
  """
  first = next(iter(results.values()))
  return {
    metric: {
      **_pooled(results, group, metric),
      "seeds": {
        str(seed): result[group][metric]["mean"] for seed, result in results.items()
      },
    }
    for metric in first.get(group, {})
    if all(metric in result.get(group, {}) for result in results.values())
  }


def _pooled(results, group: str, metric: str) -> dict[str, Any]:
  found = [result[group][metric] for result in results.values()]
  if len(found) == 1:
    return {name: found[0][name] for name in ("mean", "ci95", "n", "n_failed")}
  counts = {name: sum(one[name] for one in found) for name in ("n", "n_failed")}
  means = [one["mean"] for one in found if one["mean"] is not None]
  if is_of_the_set(results, metric) or not means:
    mean = float(np.mean(means)) if means else None
    return {"mean": mean, "ci95": [None, None], **counts}
  pooled = statistic(align([measurement(results, group, metric)]), lambda m: m[..., 0])
  return {"mean": pooled["value"], "ci95": pooled["ci95"], **counts}
