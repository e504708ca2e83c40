"""Runs metrics over utterances and says which could not be computed, and why."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxcodec.evals.metric import EvalClip, Metric, MetricAbsent, MetricFailed, Score


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


class SetMeasures(NamedTuple):
  """What `evaluate` measured.

  Attributes:
    summary: by metric name {mean, ci95, n, n_failed}.
    rows: one dict an utterance: id, speaker, text, seconds, `wavs` where its sounds
      are kept, each metric's value (None where it failed), its weight in the mean as
      `<metric>_weight` where that isn't 1 (of the WER, the reference's words), and
      `failed`, the reasons by metric name.
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
  clips: Sequence[EvalClip],
  metrics: Sequence[Metric],
  *,
  progress: Callable[[int, int], None] | None = None,
) -> SetMeasures:
  """Measures every clip with every metric.

  Args:
    clips: utterances.
    metrics: loaded ones.
    progress: called with (clips done, clips in all).

  Raises:
    ValueError: there are no clips.
  """
  if not clips:
    raise ValueError("there are no utterances to evaluate")
  rows, scores = [], {metric.name: [] for metric in metrics}
  for done, clip in enumerate(clips, 1):
    row, found = score_clip(clip, metrics)
    rows.append(row)
    for name, score in found.items():
      scores[name].append(score)
    if progress:
      progress(done, len(clips))
  summary = {}
  for metric in metrics:
    n = len(scores[metric.name])
    counts = {"n": n, "n_failed": len(clips) - n}
    summary[metric.name] = {**metric.summarise(scores[metric.name]), **counts}
  return SetMeasures(summary, rows)


def score_clip(
  clip: EvalClip, metrics: Sequence[Metric]
) -> tuple[dict[str, Any], dict[str, Score]]:
  """One utterance's row, and the scores of the metrics that did not fail on it."""
  row = {
    "id": clip.id,
    "speaker": clip.speaker,
    "text": clip.text,
    "seconds": round(len(clip.audio) / clip.sample_rate, 3),
  }
  if clip.wavs:
    row["wavs"] = dict(clip.wavs)
  failed, scores = {}, {}
  for metric in metrics:
    try:
      if clip.failed is not None:
        raise MetricFailed(clip.failed)
      score = metric.score(clip)
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


def ground_truth(clips: Sequence[EvalClip]) -> list[EvalClip]:
  """The clips with their references as the audio: what a perfect system would score."""
  return [
    dataclasses.replace(
      clip, audio=clip.reference, codes_TxK=None, failed=None, wavs={}
    )
    for clip in clips
    if clip.reference is not None
  ]
