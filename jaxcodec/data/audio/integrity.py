"""Checks of sound files for damage that libsndfile passes over in silence.

wav (Microsoft's RIFF): the header must agree with itself and with the file's size.
Ogg (RFC 3533): every page has a CRC. FLAC (RFC 9639): the header has the MD5 of the
samples, and the first frame repeats the rate. mp3 has no checksum.
"""

import hashlib
import pathlib
import struct
import zlib

import numpy as np

from jaxcodec.data.source import DataError

# Hz by the code in a frame's header; other codes leave the rate open.
_FLAC_RATES = {
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
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_file(path: pathlib.Path) -> None:
  """Raises `DataError` naming the file if it is empty, cut or damaged."""
  size = path.stat().st_size
  if size == 0:
    raise DataError(f"{path}: is an empty file")
  with open(path, "rb") as file:
    magic = file.read(4)
    if magic == b"RIFF" and (problem := _wav_problem(file, size)):
      raise DataError(f"{path}: {problem}")
    if magic == b"OggS" and (problem := _ogg_problem(path.read_bytes())):
      raise DataError(f"{path}: {problem}")
    if magic == b"fLaC" and (problem := _flac_problem(file)):
      raise DataError(f"{path}: {problem}")


class FlacChecksum:
  """Compares decoded samples with the MD5 in a FLAC file; does nothing for others."""

  def __init__(self, path: pathlib.Path):
    self._path, self._md5 = path, hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
      start = file.read(42)
    self._expected = start[26:42] if start[:4] == b"fLaC" else bytes(16)
    self._bits = ((start[20] & 1) << 4 | start[21] >> 4) + 1 if len(start) == 42 else 0
    if self._bits not in (8, 16, 24):
      self._expected = bytes(16)

  def update(self, audio_NxC: np.ndarray) -> None:
    """Adds float samples (N, C) in [-1, 1), exact to the file's bits."""
    if any(self._expected):
      integers = (audio_NxC * 2.0 ** (self._bits - 1)).astype("<i4")
      octets = integers.reshape(-1, 1).view(np.uint8)
      self._md5.update(np.ascontiguousarray(octets[:, : self._bits // 8]))

  def check(self) -> None:
    """Raises `DataError` if the samples are not those that the file was written of."""
    if any(self._expected) and self._md5.digest() != self._expected:
      raise DataError(f"{self._path}: is damaged: its samples do not fit its checksum")


def _wav_problem(file, size):
  file.seek(12)
  while len(header := file.read(8)) == 8:
    name, length = struct.unpack("<4sI", header)
    if not all(32 <= byte < 127 for byte in name):
      return f"is damaged: {name!r} stands where a chunk's name should"
    if name == b"data":
      end = file.tell() + length
      # Streamed files leave the length open.
      if length != 0xFFFFFFFF and end > size:
        return f"truncated: its header promises {end} bytes, it has {size}"
      return None if length == 0xFFFFFFFF else _after_data(file, end, size)
    if name == b"fmt " and (problem := _format_problem(file.read(16))):
      return problem
    file.seek(length + length % 2 - 16 * (name == b"fmt "), 1)
  return None


def _format_problem(fields):
  if len(fields) < 16:
    return "truncated or damaged in its header"
  kind, channels, rate, bytes_a_second, block, bits = struct.unpack("<HHIIHH", fields)
  plain = kind in (1, 3, 0xFFFE)  # PCM, float, or either by a longer name
  if plain and (
    block != channels * ((bits + 7) // 8) or bytes_a_second != rate * block
  ):
    return (
      f"is damaged: its header says {rate} Hz, {channels} channels and {bits} bits, but"
      f" {bytes_a_second} bytes a second and {block} a sample of all channels"
    )
  return None


def _after_data(file, end, size):
  """Returns what is wrong behind the samples, where only whole chunks may follow."""
  file.seek(4)
  riff_end = min(size, 8 + struct.unpack("<I", file.read(4))[0])
  while end + end % 2 + 8 <= riff_end:
    file.seek(end + end % 2)
    name, length = struct.unpack("<4sI", file.read(8))
    if any(name) and not all(32 <= byte < 127 for byte in name):
      return f"is damaged: its header promises {end} bytes and {riff_end} too"
    end = file.tell() + length if any(name) else riff_end
  return None


def _ogg_problem(data):
  start, last = 0, 0
  while start < len(data):
    end = _ogg_page_end(data, start)
    if end is None:
      return f"truncated or damaged at byte {start}: an Ogg page is not whole"
    page = data[start : start + 22] + bytes(4) + data[start + 26 : end]
    if _ogg_crc(page) != int.from_bytes(data[start + 22 : start + 26], "little"):
      return f"is damaged: the checksum of the Ogg page at byte {start} is wrong"
    start, last = end, data[start + 5]
  return None if last & 4 else "truncated: its last Ogg page is missing"


def _ogg_page_end(data, start):
  """Returns where the page at `start` ends, None if there is no whole page."""
  header = data[start : start + 27]
  if len(header) < 27 or header[:4] != b"OggS":
    return None
  table = data[start + 27 : start + 27 + header[26]]
  end = start + 27 + header[26] + sum(table)
  return end if end <= len(data) else None


def _ogg_crc(page):
  """Returns Ogg's CRC-32: zlib's with reversed bits, from 0 and not inverted."""
  crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
  return int(f"{crc:032b}"[::-1], 2)


def _flac_problem(file):
  """Returns what is wrong with the header, or with the first frame's rate."""
  stream_info, last = None, False
  while not last:
    header = file.read(4)
    if len(header) < 4:
      return "truncated or damaged in its header"
    last, length = header[0] & 0x80, int.from_bytes(header[1:], "big")
    block = file.read(length)
    stream_info = stream_info or block
  frame = file.read(3)
  if len(frame) < 3 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:
    return "truncated or damaged: no frame of samples follows its header"
  rate = int.from_bytes(stream_info[10:13], "big") >> 4
  expected = _FLAC_RATES.get(frame[2] & 15, rate)
  if rate != expected:
    return f"is damaged: its header says {rate} Hz, its samples {expected} Hz"
  return None
