"""Runs metrics over clips, and records why one could not be computed."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxcodec.evals.metric import EvalClip, Metric, MetricAbsent, MetricFailed, Score
from jaxcodec.progress import Progress


class Loaded(NamedTuple):
  """The metrics that can run here, and those that can't.

  Attributes:
    metrics: ready to run.
    absent: the line that installs what a metric lacks, by metric name.
    models: sha256 of the weights, by model name.
  """

  metrics: list[Metric]
  absent: dict[str, str]
  models: dict[str, str]


class SetMeasures(NamedTuple):
  """Holds what `evaluate` measured on one set of clips.

  Attributes:
    summary: {mean, ci95, n, n_failed} by metric name.
    rows: one dict an utterance: id, speaker, text, seconds, `wavs` where its sounds
      are kept, each metric's value (None where it failed), its weight in the mean as
      `<metric>_weight` where that isn't 1 (of the WER, the reference's words), and
      `failed`, the reasons by metric name.
  """

  summary: dict[str, dict[str, Any]]
  rows: list[dict[str, Any]]


def load_metrics(metrics: Sequence[Metric]) -> Loaded:
  """Loads the metrics' packages and weights."""
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
    clips: at least one.
    metrics: from `load_metrics`.
    progress: called with (clips done, clips in all) after each clip.

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


def evaluate_shown(
  name: str, clips: Sequence[EvalClip], metrics: Sequence[Metric]
) -> SetMeasures:
  """As `evaluate`, of the set of that name, and shows the progress."""
  with Progress(len(clips), f"measure {name}", unit="clips") as progress:
    return evaluate(clips, metrics, progress=lambda done, total: progress.update())


def score_clip(
  clip: EvalClip, metrics: Sequence[Metric]
) -> tuple[dict[str, Any], dict[str, Score]]:
  """Measures one clip.

  Returns:
    its row, and the scores of the metrics that did not fail on it.
  """
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
    except Exception as error:  # whatever the metric's package raises
      failed[metric.name] = f"{type(error).__name__}: {error}"
    else:
      scores[metric.name] = score
      row.update(score.row)
      if score.weight != 1:
        row[f"{metric.name}_weight"] = score.weight
    row[metric.name] = score.value if metric.name in scores else None
  return {**row, "failed": failed}, scores


def ground_truth(clips: Sequence[EvalClip]) -> list[EvalClip]:
  """Returns the clips with their references as audio: what a perfect system outputs."""
  return [
    dataclasses.replace(
      clip, audio=clip.reference, codes_TxK=None, delay=0, failed=None, wavs={}
    )
    for clip in clips
    if clip.reference is not None
  ]
