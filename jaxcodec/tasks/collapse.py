"""Says when a codebook has collapsed, while there is still time to stop."""

from typing import Any

import numpy as np
from absl import logging

# A perplexity below this part of the codes, or below two codes, is a collapse.
_PART, _CODES = 0.01, 2.0


class CollapseWatch:
  """Watches the logged perplexity of each codebook; for the loop's `on_log`.

  Warns when it has been below the floor for `lines` lines in a row, and again only
  after it has recovered.

  Args:
    codebook_size: V.
    lines: of metrics.
  """

  def __init__(self, codebook_size: int, lines: int = 10):
    self._size, self._lines = codebook_size, lines
    self._floor = max(_CODES, _PART * codebook_size)
    self._low_K = np.zeros(0, int)

  def __call__(self, step: int, values: dict[str, Any]) -> None:
    """Takes a line of metrics; those of evaluation have other names and don't count."""
    if "perplexity" not in values:
      return
    perplexity_K = np.asarray(values["perplexity"])
    if self._low_K.shape != perplexity_K.shape:
      self._low_K = np.zeros(perplexity_K.shape, int)
    self._low_K = np.where(perplexity_K < self._floor, self._low_K + 1, 0)
    for k in np.flatnonzero(self._low_K == self._lines):
      logging.warning(
        "step %d: codebook %d has collapsed: its perplexity was below %.4g for %d lines"
        " of metrics, now %.2f; %.1f %% of its %d codes are in use in a batch",
        *(step, k, self._floor, self._lines, perplexity_K[k]),
        *(100 * values["usage"][k], self._size),
      )
