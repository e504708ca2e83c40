"""The codes of a clip as programs hand them on."""

from typing import NamedTuple

import numpy as np


class Coded(NamedTuple):
  """The codes of one clip.

  Attributes:
    codes_TxK: int32 codes.
    mask_T: bool, its valid frames; all if None.
    gain_S: float32 level of each segment, if the codec normalises them; else None.
  """

  codes_TxK: np.ndarray
  mask_T: np.ndarray | None = None
  gain_S: np.ndarray | None = None
