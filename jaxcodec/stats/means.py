"""Means over utterances with bootstrap confidence intervals."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special  # scipy.stats would take long to import

RESAMPLES = 4000
SEED = 20240904
_CHUNK = 4_000_000


def estimate(
  values: np.ndarray, weights: np.ndarray | None = None, *, level: float = 0.95
) -> dict[str, Any]:
  """Weighted mean over utterances and its bootstrap percentile interval.

  With the reference's word counts as weights, the mean of utterances' word error rates
  is the corpus-level rate. Utterances are resampled with a fixed seed, so that equal
  values have equal intervals. Percentiles are widened for small samples, where plain
  ones cover too little.

  Source: Hesterberg 2015, "What teachers should know about the bootstrap", section 5.3.

  Args:
    values: one an utterance, (U,).
    weights: theirs, (U,); None for equal ones.
    level: how often the interval should cover the true mean.

  Returns:
    {"mean", "ci95": [low, high]}; the mean of no values is None, as are the bounds for
    fewer than two.
  """
  values = np.asarray(values, np.float64)
  weights = np.ones_like(values) if weights is None else np.asarray(weights, np.float64)
  if not len(values):
    return {"mean": None, "ci95": [None, None]}
  mean = float(np.sum(values * weights) / np.sum(weights))
  if len(values) < 2:
    return {"mean": mean, "ci95": [None, None]}
  means = bootstrap_means(values, weights)
  tail = expanded_tail(len(values), level)
  low, high = np.quantile(means, [tail, 1 - tail])
  return {"mean": mean, "ci95": [float(low), float(high)]}


def bootstrap_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the weighted means of RESAMPLES resamples with replacement, (R,)."""
  means = []
  for chosen in resamples(len(values)):
    drawn = weights[chosen]
    means.append((values[chosen] * drawn).sum(1) / drawn.sum(1))
  return np.concatenate(means)


def resamples(n: int) -> Iterator[np.ndarray]:
  """Yields the indices of RESAMPLES resamples of n things, in blocks (rows, n).

  They are the same for the same n, which pairs whatever is computed on n utterances.
  """
  rng = np.random.default_rng(SEED)
  rows = max(1, _CHUNK // n)
  for start in range(0, RESAMPLES, rows):
    yield rng.integers(0, n, (min(rows, RESAMPLES - start), n))


def expanded_tail(n: int, level: float) -> float:
  """Returns the share to cut off each end for n values' interval to cover `level`."""
  t = special.stdtrit(n - 1, (1 - level) / 2)
  return float(special.ndtr(t * np.sqrt(n / (n - 1))))


def jackknife(full: float, left_out: np.ndarray, *, upper: float) -> dict[str, Any]:
  """Returns a statistic of a set with its delete-one jackknife normal interval.

  For statistics that count distinct things: resamples with replacement have fewer.

  Args:
    full: the statistic over all utterances.
    left_out: the statistic without each utterance in turn.
    upper: the statistic's largest possible value, which bounds the interval.

  Returns:
    {"mean", "ci95": [low, high]}.
  """
  n = len(left_out)
  if n < 2:
    return {"mean": float(full), "ci95": [None, None]}
  spread = (n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)
  half = special.ndtri(0.975) * np.sqrt(spread)
  return {
    "mean": float(full),
    "ci95": [float(full - half), float(min(full + half, upper))],
  }
