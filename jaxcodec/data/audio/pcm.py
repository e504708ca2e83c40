"""Samples that come through a pipe, as they are or behind the header of a wav file."""

import dataclasses
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from jaxcodec.data.audio import extents
from jaxcodec.data.audio.decoding import MAX_RATE, MIN_RATE
from jaxcodec.data.source import DataError

RAW = "<i2"  # samples without a header, and those that are written
_SCALE = {"<i2": 1 << 15, "<i4": 1 << 31, "<f4": 1}
_TYPES = {(1, 16): "<i2", (1, 32): "<i4", (3, 32): "<f4"}  # format tag, bits
_EXTENSIBLE, _UNKNOWN = 0xFFFE, 0xFFFFFFFF
_CHUNK, _FORMAT = struct.Struct("<4sI"), struct.Struct("<HHIIHH")


@dataclasses.dataclass(frozen=True)
class Pcm:
  """How samples are stored.

  Attributes:
    sample_rate: Hz.
    num_channels: C, of which a sample each makes a frame.
    dtype: of a sample, a key of `_SCALE`.
    num_bytes: that the samples take, as a header says; None if all that comes.
  """

  sample_rate: int
  num_channels: int
  dtype: str = RAW
  num_bytes: int | None = None

  def blocks(self, file: BinaryIO, count: int, name: str) -> Iterator[np.ndarray]:
    """Yields float32 blocks (count, C), the last one shorter, as soon as they come.

    Bytes that are no whole frame at the end are left out.

    Raises:
      DataError: naming `name`, if less comes than the header says.
    """
    left = float("inf") if self.num_bytes is None else self.num_bytes
    width = np.dtype(self.dtype).itemsize * self.num_channels
    while left >= width:
      content = file.read(int(min(count * width, left)))
      left -= len(content)
      whole = len(content) // width * width
      if not whole and self.num_bytes is not None:
        raise DataError(
          f"{name}: truncated: its header promises {self.num_bytes} bytes of samples,"
          f" {self.num_bytes - left} came"
        )
      if not whole:
        return
      flat = np.frombuffer(content[:whole], self.dtype).astype(np.float32)
      yield flat.reshape(-1, self.num_channels) / _SCALE[self.dtype]


def read_wav_head(file: BinaryIO, name: str) -> Pcm:
  """Reads a wav file up to its samples.

  Raises:
    DataError: naming `name`, if it is no wav file of 16- or 32-bit samples.
  """
  if (begin := file.read(12))[:4] + begin[8:] != b"RIFFWAVE":
    raise DataError(f"{name}: is no wav file; --raw takes samples without a header")
  form = None
  while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
    kind, size = _CHUNK.unpack(head)
    if kind == b"data" and form is not None:
      return dataclasses.replace(form, num_bytes=None if _is_open(size) else size)
    content = file.read(size + size % 2)
    if kind == b"fmt ":
      form = _format(content, name)
  raise DataError(f"{name}: is a wav file without samples")


def wav_head(sample_rate: int, num_channels: int) -> bytes:
  """Returns the header of a wav file of `RAW` samples whose number isn't known yet."""
  width = 2 * num_channels
  form = _FORMAT.pack(1, num_channels, sample_rate, sample_rate * width, width, 16)
  riff = b"RIFF" + struct.pack("<I", _UNKNOWN) + b"WAVE"
  return riff + _CHUNK.pack(b"fmt ", len(form)) + form + _CHUNK.pack(b"data", _UNKNOWN)


def _is_open(size):
  """Whether a program wrote the header that did not know how much would follow."""
  return size == 0 or size >= _UNKNOWN - (1 << 16) or extents.is_open(size, 32)


def _format(content, name):
  if len(content) < _FORMAT.size:
    raise DataError(f"{name}: is a wav file with a damaged header")
  tag, channels, rate, _, _, bits = _FORMAT.unpack_from(content)
  if tag == _EXTENSIBLE and len(content) >= 26:
    (tag,) = struct.unpack_from("<H", content, 24)
  if (tag, bits) not in _TYPES:
    raise DataError(
      f"{name}: expected wav samples of 16 or 32 bits, got format {tag} of {bits} bits"
    )
  if not MIN_RATE <= rate <= MAX_RATE or not channels:
    raise DataError(f"{name}: its header says {rate} Hz and {channels} channels")
  return Pcm(rate, channels, _TYPES[tag, bits])
