"""Paired tests between systems on the same utterances, and Holm's correction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # whose parts are imported at first use

from jaxcodec.stats import means
from jaxcodec.stats.bootstrap import Aligned, difference

# Up to 13 utterances all 2^n exchanges are tried, beyond that this many random ones.
_EXCHANGES = 9999
_NUMBERS = 10_000_000  # in memory at once


def compare(aligned: Aligned, a: int, b: int) -> dict[str, Any]:
  """Compares system a with system b: the difference, its interval, and two p-values.

  `p_permutation` is of exchanging the two systems within utterances, with the
  difference of the corpus-level measures as statistic. `p_wilcoxon` is of the
  signed-rank test on the utterances' own values, by its normal approximation. Both are
  two-sided.

  Returns:
    {"value", "ci95", "n", "p_permutation", "p_wilcoxon"}.
  """
  pair = aligned.columns(a, b)
  return {
    **difference(aligned, a, b),
    "p_permutation": permutation_p(pair),
    "p_wilcoxon": _wilcoxon_p(pair),
  }


def permutation_p(pair: Aligned) -> float:
  """Returns the two-sided p-value of exchanging two systems within utterances.

  Raises:
    ValueError: the two systems' weights differ, so that corpus-level rates don't depend
      on the utterances' differences alone.
  """
  weights = pair.bottom_UxM
  if not np.array_equal(weights[:, 0], weights[:, 1]):
    raise ValueError("the two systems' weights differ: align them by utterance first")
  if len(weights) == 1:  # both of its exchanges are equally extreme
    return 1.0
  found = scipy.stats.permutation_test(
    (pair.top_UxM[:, 0], pair.top_UxM[:, 1]),
    lambda x, y, axis: (x - y).sum(axis=axis),
    permutation_type="samples",
    vectorized=True,
    n_resamples=_EXCHANGES,
    batch=max(1, _NUMBERS // len(weights)),
    rng=np.random.default_rng(means.SEED),
  )
  return float(found.pvalue)


def _wilcoxon_p(pair: Aligned) -> float:
  values = pair.top_UxM / pair.bottom_UxM
  change = values[:, 0] - values[:, 1]
  if not np.any(change):
    return 1.0
  # Zeros are ranked too (Pratt), so that ties weaken a difference.
  found = scipy.stats.wilcoxon(change, zero_method="pratt", method="asymptotic")
  return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
  """Returns p-values adjusted for their number, in the same order.

  Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
  """
  p = np.asarray(p_values, float)
  order = np.argsort(p, kind="stable")
  stepped = p[order] * np.arange(len(p), 0, -1)
  adjusted = np.empty_like(p)
  adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
  return [float(value) for value in adjusted]
