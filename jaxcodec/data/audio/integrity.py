"""Checks of sound files for damage that libsndfile passes over in silence.

It also finds what libsndfile leaves out: of files that were joined by `cat` it reads
the first alone.
"""

import io
import pathlib
from typing import BinaryIO, NamedTuple

from jaxcodec.data.audio import extents, flac, mpeg, ogg
from jaxcodec.data.audio.extents import Damaged


class Part(NamedTuple):
  """What libsndfile can read alone: a file, or one of several that were joined.

  Attributes:
    content: its bytes; None for the whole file as it lies on disk.
    exact: whether its header tells the number of its samples.
    checksum: of its samples, where the header has one.
  """

  content: bytes | None = None
  exact: bool = True
  checksum: flac.Checksum | None = None


def parts(path: pathlib.Path) -> list[Part]:
  """Returns the parts of a sound file, all of whose headers were checked.

  Raises:
    OSError: it can't be read.
    Damaged: it's empty, cut or damaged.
  """
  with open(path, "rb") as file:
    size = file.seek(0, io.SEEK_END)
    if size == 0:
      raise Damaged("is an empty file")
    file.seek(0)
    head = file.read(10)
    start = mpeg.skip_tag(head)
    file.seek(start)
    magic = file.read(4)
    if magic in (b"OggS", flac.MAGIC):
      file.seek(start)
      return (_ogg if magic == b"OggS" else _flac)(file.read())
    if mpeg.is_frame(magic):
      file.seek(start)
      return _mpeg(file.read())
    return _containers(file, size)


def _ogg(data: bytes) -> list[Part]:
  return [Part(link) for link in ogg.links(data)]


def _flac(data: bytes) -> list[Part]:
  return [_flac_part(data[start:end]) for start, end in flac.links(data)]


def _flac_part(data: bytes) -> Part:
  return Part(data, flac.total_known(data), flac.Checksum(data))


def _mpeg(data: bytes) -> list[Part]:
  return [Part(link, mpeg.counts_frames(link)) for link in mpeg.links(data)] or [Part()]


def _containers(file: BinaryIO, size: int) -> list[Part]:
  """Returns the parts of uncompressed containers; a single one stays on disk."""
  found, begin = [], 0
  while begin < size and (extent := extents.find(file, begin, size)) is not None:
    if begin == 0 and extent.end >= size and not extent.fields:
      break
    file.seek(begin)
    content = file.read(extent.end - begin)
    if extent.fields:
      content = extents.filled_in(content, begin, extent)
    found.append(Part(content))
    begin = extent.end
  return found or [Part()]
