"""Runs metrics over utterances and says which could not be computed, and why."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxcodec.evals.metric import Item, Metric, MetricAbsent, MetricFailed, Score


class Loaded(NamedTuple):
  """What `load_metrics` found.

  Attributes:
    metrics: ready to run.
    absent: by metric name, the line that installs what is missing.
    models: sha256 of the weights by model name.
  """

  metrics: list[Metric]
  absent: dict[str, str]
  models: dict[str, str]


class Evaluation(NamedTuple):
  """What `evaluate` measured.

  Attributes:
    summary: by metric name {mean, ci95, n, n_failed}.
    rows: one dict an utterance: id, speaker, text, seconds, each metric's value (None
      where it failed) and as `<metric>_weight` its share in the mean where that isn't
      1 (the reference's words), and `failed`, the reasons by metric name.
  """

  summary: dict[str, dict[str, Any]]
  rows: list[dict[str, Any]]


def load_metrics(metrics: Sequence[Metric]) -> Loaded:
  """Loads every metric's packages and weights, before any run starts."""
  loaded = Loaded([], {}, {})
  for metric in metrics:
    try:
      loaded.models.update(metric.load())
      loaded.metrics.append(metric)
    except MetricAbsent as absent:
      loaded.absent[metric.name] = str(absent)
  return loaded


def evaluate(
  items: Sequence[Item],
  metrics: Sequence[Metric],
  *,
  progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
  """Measures every item with every metric.

  Args:
    items: utterances.
    metrics: loaded ones.
    progress: called with (items done, items in all).

  Raises:
    ValueError: there are no items.
  """
  if not items:
    raise ValueError("there are no utterances to evaluate")
  rows, scores = [], {metric.name: [] for metric in metrics}
  for done, item in enumerate(items, 1):
    row, found = score_item(item, metrics)
    rows.append(row)
    for name, score in found.items():
      scores[name].append(score)
    if progress:
      progress(done, len(items))
  summary = {}
  for metric in metrics:
    n = len(scores[metric.name])
    counts = {"n": n, "n_failed": len(items) - n}
    summary[metric.name] = {**metric.summarise(scores[metric.name]), **counts}
  return Evaluation(summary, rows)


def score_item(
  item: Item, metrics: Sequence[Metric]
) -> tuple[dict[str, Any], dict[str, Score]]:
  """One utterance's row, and the scores of the metrics that did not fail on it."""
  row = {
    "id": item.id,
    "speaker": item.speaker,
    "text": item.text,
    "seconds": round(len(item.audio) / item.sample_rate, 3),
  }
  failed, scores = {}, {}
  for metric in metrics:
    try:
      if item.failed is not None:
        raise MetricFailed(item.failed)
      score = metric.score(item)
      if not math.isfinite(score.value):
        raise MetricFailed(f"not a finite number: {score.value}")
    except MetricFailed as reason:
      failed[metric.name] = str(reason)
    except Exception as error:  # Whatever a metric's package raises is its failure.
      failed[metric.name] = f"{type(error).__name__}: {error}"
    else:
      scores[metric.name] = score
      row.update(score.row)
      if score.weight != 1:
        row[f"{metric.name}_weight"] = score.weight
    row[metric.name] = score.value if metric.name in scores else None
  return {**row, "failed": failed}, scores


def ground_truth(items: Sequence[Item]) -> list[Item]:
  """The items with their references as the audio: what a perfect system would score."""
  return [
    dataclasses.replace(item, audio=item.reference, codes_TxK=None, failed=None)
    for item in items
    if item.reference is not None
  ]
