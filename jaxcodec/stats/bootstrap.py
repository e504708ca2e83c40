"""Paired bootstrap intervals: all systems share the resamples of utterances."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # whose parts are imported at first use

from jaxcodec.stats.means import RESAMPLES, SEED, expanded_tail, resamples


class Aligned(NamedTuple):
  """One measure of M systems on the same U utterances, as ratios of sums.

  A system's measure is the sum of its `top_UxM` over the sum of its `bottom_UxM`: a
  corpus's errors over its words, or values over their number. An utterance's values
  under several seeds are summed, as they aren't independent.

  Attributes:
    ids: the utterances' ids.
    top_UxM: sums of values times weights.
    bottom_UxM: sums of weights.
    by_seed: both of each seed of training, of several, whose sums these are; without
      them only utterances are resampled.
    copies: how often each utterance is there, to ask what more of them would show.
    seed_copies: how often each seed is there, likewise.
  """

  ids: tuple[str, ...]
  top_UxM: np.ndarray
  bottom_UxM: np.ndarray
  by_seed: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
  copies: int = 1
  seed_copies: int = 1

  def means(self) -> np.ndarray:
    """Returns each system's measure, (M,)."""
    return self.top_UxM.sum(0) / self.bottom_UxM.sum(0)

  def resampled(self) -> np.ndarray:
    """Returns each system's measure in each resample, (R, M).

    Utterances are resampled. A few seeds can't be: their mean in three draws of three
    seeds is never outside of them, though that of others is every fourth time. So each
    resample is moved by what Student's t says of the mean of so many seeds.
    """
    return self._by_utterances() + self._moves()

  def _by_utterances(self) -> np.ndarray:
    count, parts = len(self.ids), []
    for chosen in resamples(count):
      places = count * np.arange(len(chosen))[:, None] + chosen
      times = np.bincount(places.ravel(), minlength=places.size)
      drawn = times.reshape(places.shape).astype(float)
      parts.append((drawn @ self.top_UxM) / (drawn @ self.bottom_UxM))
    return np.concatenate(parts)

  def covariance(self) -> np.ndarray:
    """Returns the covariance of the systems' measures, (M, M), as chosen.

    That is of the choice of utterances, and of seeds where there are several.
    """
    return _covariance(self._by_utterances()) + self._covariance_of_seeds()

  def found_by_chance(self) -> np.ndarray:
    """Returns the covariance of what chance is in the measures themselves, (M, M).

    Copies don't lessen it, as they repeat what was found. NaN for a single utterance.
    """
    once, seeds = len(self.ids) // self.copies, len(self.by_seed) // self.seed_copies
    if once < 2:
      return np.full((self.top_UxM.shape[1],) * 2, np.nan)
    own = self.rows(range(once))._replace(by_seed=self.by_seed[:seeds])
    # Resamples of so many vary a little less than new draws of so many would.
    chosen = _covariance(own._by_utterances()) * once / (once - 1)
    return chosen + own._covariance_of_seeds()

  def _covariance_of_seeds(self) -> np.ndarray | float:
    if (seeds := len(self.by_seed)) < 2:
      return 0.0
    return _covariance(self._means_of_seeds()) / seeds

  def _means_of_seeds(self) -> np.ndarray:
    return np.stack([top.sum(0) / bottom.sum(0) for top, bottom in self.by_seed])

  def _moves(self) -> np.ndarray | float:
    """Returns by how much each resample is off for the choice of seeds, (R, M)."""
    seeds = len(self.by_seed)
    if seeds < 2:
      return 0.0
    means_SxM = self._means_of_seeds()
    rng = np.random.default_rng([SEED, seeds])
    normal_RxS = rng.standard_normal((RESAMPLES, seeds))
    normal_RxS -= normal_RxS.mean(1, keepdims=True)
    wider_R = np.sqrt((seeds - 1) / rng.chisquare(seeds - 1, RESAMPLES))
    share_R = wider_R / np.sqrt(seeds * (seeds - 1))
    return share_R[:, None] * (normal_RxS @ means_SxM)

  def columns(self, *systems: int) -> "Aligned":
    """Returns some of the systems on the same utterances."""
    chosen = list(systems)
    return self.map(lambda array_UxM: array_UxM[:, chosen])

  def rows(self, chosen: Sequence[int]) -> "Aligned":
    """Returns the systems on some of the utterances."""
    ids = tuple(self.ids[index] for index in chosen)
    return self.map(lambda array_UxM: array_UxM[list(chosen)])._replace(ids=ids)

  def scaled(self, factor: float) -> "Aligned":
    """Returns the measure times a factor."""
    by_seed = tuple((factor * top, bottom) for top, bottom in self.by_seed)
    return self._replace(top_UxM=factor * self.top_UxM, by_seed=by_seed)

  def map(self, function: Callable[[np.ndarray], np.ndarray]) -> "Aligned":
    """Returns the same ids with a function of every array."""
    by_seed = tuple((function(top), function(bottom)) for top, bottom in self.by_seed)
    top_UxM, bottom_UxM = function(self.top_UxM), function(self.bottom_UxM)
    return self._replace(top_UxM=top_UxM, bottom_UxM=bottom_UxM, by_seed=by_seed)


def _covariance(measures_RxM: np.ndarray) -> np.ndarray:
  return np.atleast_2d(np.cov(measures_RxM, rowvar=False))


def interval(
  replicates_R: np.ndarray, count: int, *, level: float = 0.95
) -> list[float | None]:
  """Percentile interval of a statistic's replicates, widened for small samples.

  Args:
    replicates_R: the statistic in each resample; those that are not finite (the
      correlation of a constant) are left out.
    count: the number of utterances, or of systems, that were resampled.
    level: how often the interval should cover the true value.

  Returns:
    [low, high]; [None, None] if `count` is below two or more than half of the
    replicates are not finite.
  """
  valid = replicates_R[np.isfinite(replicates_R)]
  if count < 2 or 2 * len(valid) < len(replicates_R):
    return [None, None]
  tail = expanded_tail(count, level)
  low, high = np.quantile(valid, [tail, 1 - tail])
  return [float(low), float(high)]


def statistic(
  aligned: Aligned, function: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
  """Returns a function of the systems' measures with its interval over utterances.

  Args:
    aligned: one measure of the systems.
    function: maps measures (..., M) to values (...).

  Returns:
    {"value", "ci95", "n"}.
  """
  value = float(function(aligned.means()))
  ci95 = interval(function(aligned.resampled()), len(aligned.ids))
  return {"value": value, "ci95": ci95, "n": len(aligned.ids)}


def difference(aligned: Aligned, a: int, b: int) -> dict[str, Any]:
  """Returns system a's measure less system b's, as `statistic` does."""
  return statistic(aligned.columns(a, b), lambda m: m[..., 0] - m[..., 1])


def correlation(x_M: np.ndarray, y_M: np.ndarray, kind: str) -> dict[str, Any]:
  """Correlation over systems, with intervals of two kinds.

  `ci95` resamples the systems and is too narrow for a handful of them. `fisher95` is
  Fisher's interval (for ranks with the variance of Bonett and Wright 2000) and assumes
  a bivariate normal distribution. Rely on what both say. `p` is exact up to 8 systems,
  by all permutations; beyond, by 9999 random ones.

  Args:
    x_M, y_M: one value a system.
    kind: "pearson" or "spearman".

  Returns:
    {"value", "ci95", "fisher95", "p", "n"}; values are None if there are fewer than
    three systems or a variable is constant.
  """
  if len(x_M) < 3 or np.ptp(x_M) == 0 or np.ptp(y_M) == 0:
    none = [None, None]
    return dict(value=None, ci95=none, fisher95=none, p=None, n=len(x_M))
  correlate = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}
  value = float(correlate[kind](x_M, y_M).statistic)
  replicates = resampled_correlations(x_M, y_M[:, None], kind)[:, 0]
  return {
    "value": value,
    "ci95": interval(replicates, len(x_M)),
    "fisher95": fisher_interval(value, len(x_M), kind),
    "p": _permutation_p(x_M, y_M, kind),
    "n": len(x_M),
  }


def resampled_correlations(x_M: np.ndarray, y_MxY: np.ndarray, kind: str) -> np.ndarray:
  """Returns the correlations of x and each column of y in resamples of systems, (R, Y).

  NaN where a resample's x or y is constant.
  """
  both = np.column_stack([x_M, y_MxY])
  chosen = np.concatenate(list(resamples(len(x_M))))
  drawn = both[chosen]
  if kind == "spearman":
    drawn = scipy.stats.rankdata(drawn, axis=1)
  centred = drawn - drawn.mean(axis=1, keepdims=True)
  spread = np.sqrt((centred**2).sum(axis=1))
  spread[np.ptp(drawn, axis=1) == 0] = np.nan
  products = (centred[:, :, :1] * centred[:, :, 1:]).sum(axis=1)
  return products / (spread[:, :1] * spread[:, 1:])


def fisher_interval(value: float, count: int, kind: str) -> list[float | None]:
  """Returns the 95% interval of a correlation by Fisher's transform.

  [None, None] below four systems, and of a perfect correlation, where it has no width.

  Args:
    value: the correlation.
    count: how many systems.
    kind: "pearson" or "spearman".
  """
  if count < 4 or abs(value) > 1 - 1e-9:
    return [None, None]
  variance = (1 + value**2 / 2 if kind == "spearman" else 1.0) / (count - 3)
  half = scipy.stats.norm.ppf(0.975) * np.sqrt(variance)
  z = np.arctanh(value)
  return [float(np.tanh(z - half)), float(np.tanh(z + half))]


def _permutation_p(x_M, y_M, kind) -> float:
  if kind == "spearman":
    x_M, y_M = scipy.stats.rankdata(x_M), scipy.stats.rankdata(y_M)
  x_M, y_M = scipy.stats.zscore(x_M), scipy.stats.zscore(y_M)
  found = scipy.stats.permutation_test(
    (x_M,),
    lambda x, axis: (x * y_M).mean(axis=axis),
    permutation_type="pairings",
    vectorized=True,
    n_resamples=9999 if len(x_M) > 8 else 40_320,
    rng=np.random.default_rng(SEED),
  )
  return float(found.pvalue)
