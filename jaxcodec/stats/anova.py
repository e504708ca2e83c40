"""Analysis of variance: how much quantiser and decoder each explain of a measure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # whose parts are imported at first use

from jaxcodec.stats.bootstrap import Aligned, interval


def attribution(
  aligned: Aligned,
  quantizers: Sequence[str],
  decoders: Sequence[str],
  *,
  shared: bool = False,
) -> dict[str, Any]:
  """Two-way analysis of variance of the systems' measures, without interaction.

  Sums of squares are of type II (what a factor explains beyond the other one), as the
  grid is unbalanced: not every pair of parts is a codec. With one value a system,
  interaction can't be separated from the chance of its training.
  `quantizer_less_decoder` is the variance between quantisers less that between
  decoders: components, which don't depend on how many systems share a level, as mean
  squares do. The residual's share is taken off where there is a residual, and so is
  what the choice of utterances adds: what resamples vary by, alike in systems that
  share it, such as decoders of one generation. Its interval is over utterances.

  Args:
    aligned: one measure of the systems.
    quantizers: each system's quantiser.
    decoders: each system's decoder.
    shared: whether decoders speak the same tokens of one training, so that what is
      left between them is too little to test the tokens against.

  Returns:
    {"quantizer", "decoder": {"ss", "df", "ms", "eta_squared", "f", "p"}, "residual",
    "total", "quantizer_less_decoder": {"value", "ci95", "n"}}. `f` and `p` are None
    without residual degrees of freedom; `ms` and `eta_squared` are None for a factor
    that has none of its own.
  """
  model = _Model(quantizers, decoders)
  squares = model.squares(aligned.means())
  total = float(squares["total"])
  residual = {"ss": float(squares["residual"]), "df": model.residual_df}
  table = {
    name: _row(float(squares[name]), model.df[name], residual, total)
    for name in ("quantizer", "decoder")
  }
  noise = model.noise(aligned.covariance())
  chosen = model.noise(aligned.found_by_chance())
  replicates = model.component_difference(aligned.resampled())
  contrast = {
    "value": _finite_or_none(model.component_difference(aligned.means()) - chosen),
    # A resample has the noise of the utterances that there are, and its own.
    "ci95": interval(replicates - chosen - noise, len(aligned.ids)),
    "n": len(aligned.ids),
  }
  if shared:
    table["quantizer"] |= {"f": None, "p": None}
  total_row = {"ss": total, "df": len(quantizers) - 1}
  return {
    **table,
    "residual": residual,
    "total": total_row,
    "quantizer_less_decoder": contrast,
  }


class _Model:
  """Least-squares fits on the two factors' levels, for many measures at once."""

  def __init__(self, quantizers: Sequence[str], decoders: Sequence[str]):
    count = len(quantizers)
    ones = np.ones((count, 1))
    by_quantizer, by_decoder = _levels(quantizers), _levels(decoders)
    designs = {
      "nothing": ones,
      "quantizer": by_quantizer,
      "decoder": by_decoder,
      "both": np.hstack([by_quantizer, by_decoder]),
    }
    self._residual_makers = {
      name: np.eye(count) - design @ np.linalg.pinv(design)
      for name, design in designs.items()
    }
    rank = {name: int(np.linalg.matrix_rank(x)) for name, x in designs.items()}
    self.df = {
      "quantizer": rank["both"] - rank["decoder"],
      "decoder": rank["both"] - rank["quantizer"],
    }
    self.residual_df = count - rank["both"]
    self._contrast_MxM = self._contrast(by_quantizer, by_decoder)

  def squares(self, values: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the sums of squares (...) of measures (..., M), by factor."""
    # Centred first, so that rounding errors are relative to the variation.
    values = values - values.mean(-1, keepdims=True)
    rest = {
      name: np.square(values @ maker).sum(-1)
      for name, maker in self._residual_makers.items()
    }
    return {
      "quantizer": np.maximum(rest["decoder"] - rest["both"], 0.0),
      "decoder": np.maximum(rest["quantizer"] - rest["both"], 0.0),
      "residual": rest["both"],
      "total": rest["nothing"],
    }

  def component_difference(self, values: np.ndarray) -> np.ndarray:
    """Returns the quantiser's component less the decoder's of measures (..., M), (...).

    NaN if one of them has no degree of freedom.
    """
    values = values - values.mean(-1, keepdims=True)
    return np.einsum("...m,mn,...n->...", values, self._contrast_MxM, values)

  def noise(self, covariance_MxM: np.ndarray) -> float:
    """Returns what noise of this covariance adds to the difference on average."""
    return float(np.sum(self._contrast_MxM * covariance_MxM))

  def _contrast(self, by_quantizer, by_decoder):
    """Returns the matrix of the difference as a quadratic form of the measures."""
    rest, parts = self._residual_makers, []
    if not all(self.df.values()):
      return np.full_like(rest["both"], np.nan)
    for levels, other in ((by_quantizer, "decoder"), (by_decoder, "quantizer")):
      squares_MxM = rest[other] - rest["both"]
      # How much a level's variance of one adds to the sum of squares.
      share = np.trace(levels.T @ squares_MxM @ levels)
      if self.residual_df:  # what a training's chance adds is taken off
        df = np.trace(squares_MxM)
        squares_MxM = squares_MxM - rest["both"] * df / self.residual_df
      parts.append(squares_MxM / share)
    return parts[0] - parts[1]


def _levels(names: Sequence[str]) -> np.ndarray:
  """Returns indicators of a factor's levels, (M, levels)."""
  kinds = sorted(set(names))
  return np.array([[float(name == kind) for kind in kinds] for name in names])


def _row(ss: float, df: int, residual: dict[str, Any], total: float) -> dict[str, Any]:
  ms = ss / df if df else None
  f = p = None
  if df and residual["df"] and residual["ss"] > 1e-12 * max(total, 1e-300):
    f = ms / (residual["ss"] / residual["df"])
    p = float(scipy.stats.f.sf(f, df, residual["df"]))
  return {
    "ss": ss,
    "df": df,
    "ms": ms,
    "eta_squared": ss / total if df and total > 0 else None,
    "f": f,
    "p": p,
  }


def _finite_or_none(value: np.ndarray) -> float | None:
  return float(value) if np.isfinite(value) else None
