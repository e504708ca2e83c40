"""Metrics of how a codec uses its codes over a set of utterances."""

import abc
from typing import Any

import numpy as np

from jaxcodec.evals.metric import (
  EvalClip,
  Metric,
  MetricFailed,
  MetricSettings,
  Score,
  Spec,
)
from jaxcodec.stats import means


class SpecMetric(Metric):
  """A metric that needs the codec's token spec."""

  needs = ("spec",)

  def __init__(self, spec: Spec):
    self._spec = spec

  @classmethod
  def make(cls, settings: MetricSettings) -> "SpecMetric":
    if settings.spec is None:
      raise ValueError(f"metric {cls.name!r} needs the codec's token spec")
    return cls(settings.spec)


class CodebookStatistic(SpecMetric):
  """A statistic of each codebook's code counts, averaged over codebooks.

  The mean in the results is the statistic of the whole set's counts, not the mean of
  the utterances' values, as a short utterance cannot use every code. Its interval is a
  delete-one jackknife over utterances. `per_codebook` has each codebook's value.
  """

  better = "higher"
  of_codes = True
  of_the_set = True

  def score(self, clip: EvalClip) -> Score:
    counts = code_counts(clip.codes_TxK, self._spec)
    return Score(float(self.statistic(counts).mean()), detail=counts)

  def summarise(self, scores: list[Score]) -> dict[str, Any]:
    if not scores:
      return {"mean": None, "ci95": [None, None], "per_codebook": []}
    total = np.sum([s.detail for s in scores], axis=0)
    left_out = [self.statistic(total - s.detail).mean() for s in scores]
    per_codebook = self.statistic(total)
    summary = means.jackknife(per_codebook.mean(), np.array(left_out), upper=self.upper)
    return {**summary, "per_codebook": [float(v) for v in per_codebook]}

  @property
  @abc.abstractmethod
  def upper(self) -> float:
    """The largest possible value of the statistic."""

  @staticmethod
  @abc.abstractmethod
  def statistic(counts_KxV: np.ndarray) -> np.ndarray:
    """Returns the value of each codebook, (K,)."""


class CodebookUsage(CodebookStatistic):
  name = "codebook_usage"
  measures = "Share of a codebook's entries that the set uses, mean over codebooks."

  upper = 1.0

  @staticmethod
  def statistic(counts_KxV):
    return (counts_KxV > 0).mean(axis=1)


class CodebookPerplexity(CodebookStatistic):
  name = "codebook_perplexity"
  unit = "codes"
  measures = "2 to the entropy of a codebook's codes in the set, mean over codebooks."

  @property
  def upper(self):
    return float(self._spec.codebook_size)

  @staticmethod
  def statistic(counts_KxV):
    share = counts_KxV / np.maximum(counts_KxV.sum(axis=1, keepdims=True), 1)
    bits = -np.sum(share * np.log2(np.where(share > 0, share, 1)), axis=1)
    return 2**bits


class Bitrate(SpecMetric):
  """Bitrate of the token spec without entropy coding, or of what a codec sent."""

  name = "bitrate_kbps"
  unit = "kbit/s"
  measures = "Frame rate x codebooks x log2(codebook size); of Opus, its packets' bits."

  def score(self, clip: EvalClip) -> Score:
    if clip.bits is None:
      return Score(self._spec.bitrate / 1000)
    seconds = len(clip.audio) / clip.sample_rate
    return Score(clip.bits / seconds / 1000, weight=seconds)


def code_counts(codes_TxK: np.ndarray | None, spec: Spec) -> np.ndarray:
  """Counts how often each code occurs, (K, V) int64.

  Raises:
    MetricFailed: there are no codes, they are of another number of codebooks, or one is
      out of range.
  """
  if codes_TxK is None or not np.size(codes_TxK):
    raise MetricFailed("no codes for this utterance")
  codes_TxK = np.asarray(codes_TxK)
  size, books = spec.codebook_size, spec.num_codebooks
  if codes_TxK.ndim != 2 or codes_TxK.shape[1] != books:
    raise MetricFailed(f"codes must be (T, {books}), got {codes_TxK.shape}")
  if codes_TxK.min() < 0 or codes_TxK.max() >= size:
    raise MetricFailed(
      f"codes must lie in 0..{size - 1}, got {codes_TxK.min()}..{codes_TxK.max()}"
    )
  return np.stack([np.bincount(c, minlength=size) for c in codes_TxK.T])
