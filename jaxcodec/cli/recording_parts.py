"""Long recordings are measured minute by minute, so that memory holds one of them."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jaxcodec.cli.paired_files import Part, Recording
from jaxcodec.data.audio.files import AudioInfo, read_audio
from jaxcodec.data.audio.pieces import LEAST_S, Piece, read_pieces
from jaxcodec.data.source import DataError

LONGEST_S = 600  # of a recording that is measured whole
PART_S = 60


def cut_long(
  recordings: Sequence[Recording], infos: Mapping[pathlib.Path, AudioInfo]
) -> list[Recording]:
  """Returns recordings with parts in place of those that are long.

  The text is said by all parts together, so none has it.

  Args:
    recordings: generated in time with their references, whose length counts.
    infos: sizes of all their files.
  """
  cut = []
  for one in recordings:
    info = infos[one.reference]
    seconds = info.num_samples / info.sample_rate
    count = int(seconds // PART_S + (seconds % PART_S >= LEAST_S))
    parts = range(count) if seconds > LONGEST_S else ()
    cut += [
      one._replace(id=f"{one.id}@{n * PART_S}", text=None, part=Part(n, count))
      for n in parts
    ] or [one]
  return cut


class PartReader:
  """Reads parts of files; asked for one after another, it reads a file once."""

  def __init__(self) -> None:
    self._begun: dict[pathlib.Path, tuple[Iterator[Piece], int]] = {}

  def read(self, path: pathlib.Path, part: Part | None) -> tuple[np.ndarray, int]:
    """Returns mono float32 samples and their rate in Hz, of the whole where None.

    Raises:
      DataError: see `read_audio`; or the file ends before the part.
    """
    if part is None:
      return read_audio(path)
    pieces, at = self._begun.pop(path, (iter(()), part.number + 1))
    if at > part.number:
      pieces, at = read_pieces(path, PART_S, part.total), 0
    for piece in pieces:
      at += 1
      if at > part.number:
        if at < part.total:
          self._begun[path] = pieces, at
        return piece.audio_N, piece.sample_rate
    raise DataError(f"{path}: ends before {part.number * PART_S} s")
