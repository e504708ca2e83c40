"""Long recordings in pieces, so that memory holds one of them."""

import math
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxcodec.data.audio import decoding
from jaxcodec.data.audio.files import check_samples, scan_audio

LEAST_S = 1  # a shorter rest belongs to the piece before it


class Piece(NamedTuple):
  """A part of a recording, or all of it.

  Attributes:
    audio_N: mono float32; channels are averaged.
    sample_rate: Hz.
    begin: seconds into the recording.
    whole: whether it is all of it.
  """

  audio_N: np.ndarray
  sample_rate: int
  begin: float
  whole: bool

  def label(self, name: str) -> str:
    """Returns the name of the recording, and of a part of it `name@begin`."""
    return name if self.whole else f"{name}@{self.begin:.10g}"


def read_pieces(
  path: pathlib.Path, seconds: float, count: int | None = None
) -> Iterator[Piece]:
  """Yields a recording in pieces.

  Args:
    path: of a sound file.
    seconds: of a piece. The last one may be shorter, or longer by less than 1 s.
    count: how many to give, the last with all that is left, of a file that was read
      through before. Where None, a file of several pieces is read through first, so
      that one that is damaged at its end gives none.

  Raises:
    DataError: see `read_audio`.
  """
  with decoding.opened(path) as sound:
    rate, size = sound.sample_rate, round(seconds * sound.sample_rate)
    least, most = (LEAST_S * rate, math.inf) if count is None else (0, count)
    held_N, given = np.zeros(0, np.float32), 0
    for block_NxC in sound.blocks:
      mono_N = check_samples(block_NxC, str(path)).mean(axis=1)
      held_N = np.concatenate([held_N, mono_N]) if len(held_N) else mono_N
      while len(held_N) >= size + least and given < most - 1:
        if not given and count is None:
          scan_audio(path)
        yield Piece(held_N[:size], rate, given * seconds, False)
        held_N, given = held_N[size:], given + 1
    check_samples(held_N, str(path))
    yield Piece(held_N, rate, given * seconds, not given)
