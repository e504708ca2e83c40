"""Finds where the samples of uncompressed containers lie, and whether all are there.

libsndfile believes the file's size where it contradicts the header, so that half a file
looks whole to it, and believes a length of 0 that a program which wrote to a pipe never
filled in.
"""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

# What programs that can't seek leave as a length: sox, arecord, lame, ffmpeg. Some take
# their header off it, or round down to whole samples.
_OPEN_32 = (0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_SLACK = 256  # bytes
_OPEN_64 = 1 << 62  # no real length reaches this
_RF64 = (b"RF64", b"BW64")
_WAVES = (b"RIFF", b"RIFX", *_RF64)


class Damaged(ValueError):
  """What is wrong with a file's content; the message lacks the file's name."""


class SizeField(NamedTuple):
  """A field that repeats the samples' length: `add` more than `length // unit`."""

  offset: int
  format: str
  add: int = 0
  unit: int = 1


class Extent(NamedTuple):
  """Where a container's samples lie, in bytes.

  Attributes:
    start: of the samples.
    length: that the header promises; None where it leaves it open.
    end: of the container, where another may begin.
    fields: to fill in so that libsndfile reads an open length; empty if it does so.
  """

  start: int
  length: int | None
  end: int
  fields: tuple[SizeField, ...] = ()


def find(file: BinaryIO, begin: int, size: int) -> Extent | None:
  """Returns the extent of the container at `begin`, None if it is of no known kind.

  Raises:
    Damaged: its header contradicts itself, or promises more than the file has.
  """
  file.seek(begin)
  magic = file.read(4)
  finder = _FINDERS.get(magic)
  extent = finder(file, begin, size, magic) if finder else None
  if extent is None:
    return None
  promised = extent.start + (extent.length or 0)
  if promised > size:
    raise Damaged(f"truncated: its header promises {promised} bytes, it has {size}")
  return extent


def filled_in(content: bytes, begin: int, extent: Extent) -> bytes:
  """Returns the container at `begin`, its length that of what's behind its header."""
  mended, length = bytearray(content), begin + len(content) - extent.start
  for field in extent.fields:
    value = length // field.unit + field.add
    if value < 1 << 8 * struct.calcsize(field.format):
      struct.pack_into(field.format, mended, field.offset - begin, value)
  return bytes(mended)


def is_open(length: int, bits: int) -> bool:
  """Whether a length of so many bits is what programs leave that can't know it."""
  if bits == 64 and length >= _OPEN_64:
    return True
  return any(most - _SLACK <= length <= most for most in _OPEN_32)


def _read(file: BinaryIO, offset: int, layout: str) -> tuple:
  """Reads fields at an offset; raises `Damaged` at the file's end."""
  file.seek(offset)
  content = file.read(struct.calcsize(layout))
  if len(content) < struct.calcsize(layout):
    raise Damaged("truncated or damaged in its header")
  return struct.unpack(layout, content)


def _chunks(
  file: BinaryIO, at: int, size: int, layout: str = "<4sI", even: int = 2
) -> Iterator[tuple[bytes, int, int]]:
  """Yields (name, start of the body, length of the body) of each chunk.

  Raises:
    Damaged: what stands where a name should is none.
  """
  head = struct.calcsize(layout)
  while at + head <= size:
    name, length = _read(file, at, layout)
    if not _is_name(name):
      raise Damaged(f"is damaged: {name!r} stands where a chunk's name should")
    yield name, at + head, length
    at += head + length + -length % even


def _is_name(name: bytes) -> bool:
  return all(32 <= byte < 127 for byte in name)


def _wave(file, begin, size, magic):
  """Microsoft's RIFF, its big-endian RIFX, and EBU Tech 3306's RF64 and BW64."""
  order = ">" if magic == b"RIFX" else "<"
  (riff,), long = _read(file, begin + 4, f"{order}I"), None
  fields: tuple[SizeField, ...] = ()
  for name, start, length in _chunks(file, begin + 12, size, f"{order}4sI"):
    if name == b"ds64" and magic in _RF64:
      riff, long = _read(file, start, "<QQ")
      fields = (SizeField(start + 8, "<Q"),)
    elif name == b"fmt ":
      _check_format(_read(file, start, f"{order}HHIIHH"))
    elif name == b"data":
      if magic in _RF64 and length >= _OPEN_32[-2]:
        length = long or 0
      field = SizeField(start - 4, f"{order}I")
      if is_open(length, 64):
        # libsndfile reads these in a RIFF, but not in the header of RF64.
        return Extent(start, None, size, (*fields, field) if fields else ())
      if length == 0 and start < size and not _only_chunks(file, start, size, order):
        return Extent(start, None, size, (*fields, field))
      return _closed(file, size, start, length, begin + 8 + riff, order)
  return None


def _closed(file, size, start, length, end, order):
  """Returns the extent of samples whose length is known, of a container to `end`."""
  if start + length <= size:
    _check_behind(file, start + length, min(size, end), order)
  known = start + length <= end <= size
  return Extent(start, length, end if known else size)


def _only_chunks(file, start, size, order):
  """Tells whether nothing but whole chunks follows, so that there are no samples."""
  try:
    found = _chunks(file, start, size, f"{order}4sI")
    ends = [at + length for _, at, length in found]
  except Damaged:
    return False
  return bool(ends) and size - 1 <= ends[-1] <= size


def _check_format(fields):
  kind, channels, rate, bytes_a_second, block, bits = fields
  plain = kind in (1, 3, 0xFFFE)  # PCM, float, or either by a longer name
  if plain and (
    block != channels * ((bits + 7) // 8) or bytes_a_second != rate * block
  ):
    raise Damaged(
      f"is damaged: its header says {rate} Hz, {channels} channels and {bits} bits, but"
      f" {bytes_a_second} bytes a second and {block} a sample of all channels"
    )


def _check_behind(file, end, riff_end, order):
  """Raises `Damaged` unless only whole chunks, or zeros, follow the samples."""
  at = end + end % 2
  while at + 8 <= riff_end:
    name, length = _read(file, at, f"{order}4sI")
    if not any(name):
      return
    if not _is_name(name):
      raise Damaged(f"is damaged: its header promises {end} bytes and {riff_end} too")
    at += 8 + length + length % 2


def _wave64(file, begin, size, magic):
  """Sony's Wave64: names of 16 bytes, 64-bit lengths that count their header."""
  if _read(file, begin + 4, "<4s")[0] != b".\x91\xcf\x11":
    return None
  (whole,), at = _read(file, begin + 16, "<Q"), begin + 40
  while at + 24 <= size:
    name, length = _read(file, at, "<4s12xQ")
    if name == b"data":
      field, start = SizeField(at + 16, "<Q", add=24), at + 24
      if is_open(length, 64) or (length <= 24 and start < size):
        riff = SizeField(begin + 16, "<Q", add=start - begin)
        return Extent(start, None, size, (field, riff))
      end = begin + whole if length - 24 < whole <= size - begin else size
      return Extent(start, length - 24, end)
    if length < 24:
      raise Damaged(f"is damaged: its chunk {name!r} has a length of {length}")
    at += length + -length % 8
  return None


def _aiff(file, begin, size, magic):
  """Apple's AIFF and AIFF-C."""
  (form, kind), frame, fields = _read(file, begin + 4, ">I4s"), 0, ()
  if kind not in (b"AIFF", b"AIFC"):
    return None
  for name, start, length in _chunks(file, begin + 12, size, ">4sI"):
    if name == b"COMM":
      channels, _, bits = _read(file, start, ">HIH")
      frame = channels * ((bits + 7) // 8)
      fields = (SizeField(start + 2, ">I", unit=max(1, frame)),)
    elif name == b"SSND":
      fields += (SizeField(start - 4, ">I", add=8),)
      if is_open(length, 32) or (length <= 8 and start + 8 < size):
        return Extent(start + 8, None, size, fields)
      end = begin + 8 + form
      known = start + length <= end <= size
      return Extent(start + 8, length - 8, end if known else size)
  return None


def _au(file, begin, size, magic):
  """Sun's and NeXT's .snd."""
  order = ">" if magic == b".snd" else "<"
  offset, length = _read(file, begin + 4, f"{order}II")
  start = begin + offset
  field = SizeField(begin + 8, f"{order}I")
  if is_open(length, 32) or (length == 0 and start < size):
    return Extent(start, None, size, (field,))
  return Extent(start, length, min(size, start + length))


def _caf(file, begin, size, magic):
  """Apple's Core Audio Format; behind `data` stands a count of edits."""
  for name, start, length in _chunks(file, begin + 8, size, ">4sQ", even=1):
    if name == b"data":
      if is_open(length, 64):
        return Extent(start + 4, None, size, (SizeField(start - 8, ">Q", add=4),))
      return Extent(start + 4, length - 4, size)
  return None


def _nist(file, begin, size, magic):
  """NIST's SPHERE: a header in text, whose second line is its length."""
  file.seek(begin)
  header = file.read(1024)
  fields = dict(re.findall(rb"^(\w+) -\w+ (\S+)", header, re.MULTILINE))
  names = (b"sample_count", b"channel_count", b"sample_n_bytes")
  try:
    start = begin + int(header.split(b"\n", 2)[1])
    count, channels, width = (int(fields.get(name, b"1")) for name in names)
  except (ValueError, IndexError):
    raise Damaged("truncated or damaged in its header") from None
  if names[0] not in fields or fields.get(b"sample_coding", b"pcm") not in _NIST_PLAIN:
    return Extent(start, None, size)
  length = count * channels * width
  return Extent(start, length, min(size, start + length))


_NIST_PLAIN = (b"pcm", b"ulaw", b"alaw", b"mu-law", b"a-law")
_FINDERS = {
  **dict.fromkeys(_WAVES, _wave),
  b"riff": _wave64,
  b"FORM": _aiff,
  b".snd": _au,
  b"dns.": _au,
  b"caff": _caf,
  b"NIST": _nist,
}
