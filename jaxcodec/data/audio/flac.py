"""FLAC (RFC 9639): the header has the MD5 of the samples; the first frame repeats the
rate. An encoder that writes to a pipe leaves MD5 and length zero.
"""

import hashlib
import re

import numpy as np

from jaxcodec.data.audio.extents import Damaged

MAGIC = b"fLaC"
# Hz by the code in a frame's header; other codes leave the rate open.
_RATES = {
  1: 88_200,
  2: 176_400,
  3: 192_000,
  4: 8_000,
  5: 16_000,
  6: 22_050,
  7: 24_000,
  8: 32_000,
  9: 44_100,
  10: 48_000,
  11: 96_000,
}
_HEADER = 42  # bytes of the mark and the first block
# The mark of a file and the head of its first block, which always has 34 bytes.
_START = re.compile(MAGIC + rb"[\x00\x80]\x00\x00\x22")


def links(data: bytes) -> list[tuple[int, int]]:
  """Returns the (start, end) of each file that was joined by `cat`.

  Raises:
    Damaged: a header is cut, or contradicts the first frame's rate.
  """
  starts = [match.start() for match in _START.finditer(data)] or [0]
  found = list(zip(starts, [*starts[1:], len(data)], strict=True))
  for start, _ in found:
    _check_header(data, start)
  return found


def total_known(data: bytes) -> bool:
  """Tells whether the header of a file that begins with `MAGIC` has its length."""
  return bool(data[21] & 15 or any(data[22:26]))


class Checksum:
  """Compares decoded samples with the MD5 in a header, where there is one."""

  def __init__(self, file: bytes):
    """Takes a file that begins with `MAGIC`."""
    header = file[:_HEADER]
    self._md5 = hashlib.md5(usedforsecurity=False)
    self._expected = header[26:42]
    self._bits = ((header[20] & 1) << 4 | header[21] >> 4) + 1
    if self._bits not in (8, 16, 24):
      self._expected = bytes(16)

  def update(self, audio_NxC: np.ndarray) -> None:
    """Adds float samples (N, C) in [-1, 1), exact to the file's bits."""
    if any(self._expected):
      integers = (audio_NxC * 2.0 ** (self._bits - 1)).astype("<i4")
      octets = integers.reshape(-1, 1).view(np.uint8)
      self._md5.update(np.ascontiguousarray(octets[:, : self._bits // 8]))

  def check(self) -> None:
    """Raises `Damaged` if the samples are not those that the file was written of."""
    if any(self._expected) and self._md5.digest() != self._expected:
      raise Damaged("is damaged: its samples do not fit its checksum")


def _check_header(data: bytes, start: int) -> None:
  """Raises `Damaged` if the blocks are cut or the first frame has another rate."""
  at, last = start + 4, 0
  if len(data) < start + _HEADER:
    raise Damaged("truncated or damaged in its header")
  while not last:
    if at + 4 > len(data):
      raise Damaged("truncated or damaged in its header")
    last = data[at] & 0x80
    at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
  frame = data[at : at + 3]
  if len(frame) < 3 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:
    raise Damaged("truncated or damaged: no frame of samples follows its header")
  rate = int.from_bytes(data[start + 18 : start + 21], "big") >> 4
  expected = _RATES.get(frame[2] & 15, rate)
  if rate != expected:
    raise Damaged(f"is damaged: its header says {rate} Hz, its samples {expected} Hz")
