"""Ogg (RFC 3533): every page has a CRC, and streams may follow one another."""

import zlib

from jaxcodec.data.audio.extents import Damaged

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_BEGINS, _ENDS = 2, 4  # flags of a stream's first and last page


def links(data: bytes) -> list[bytes]:
  """Returns each chained file: several if `cat` joined some.

  Where the flag of a stream's last page is missing, as in a recording that was
  stopped, it is set: Opus's decoder wants it in short files.

  Raises:
    Damaged: a page is not whole, or its checksum is wrong.
  """
  files, begun, at, last = [bytearray()], False, 0, 0
  while at < len(data):
    end = _page_end(data, at)
    if end is None:
      raise Damaged(f"truncated or damaged at byte {at}: an Ogg page is not whole")
    page = data[at:end]
    if _with_checksum(page) != page:
      raise Damaged(f"is damaged: the checksum of the Ogg page at byte {at} is wrong")
    # The first pages of streams that are played together stand side by side.
    begins = bool(page[5] & _BEGINS)
    if begins and not begun and at:
      _end_here(files[-1], last)
      files.append(bytearray())
    last = len(files[-1])
    files[-1] += page
    begun, at = begins, end
  _end_here(files[-1], last)
  return [bytes(file) for file in files]


def _end_here(file: bytearray, last: int) -> None:
  """Sets the flag of a stream's end in the page that begins at `last`."""
  if not file[last + 5] & _ENDS:
    file[last + 5] |= _ENDS
    file[last:] = _with_checksum(bytes(file[last:]))


def _with_checksum(page: bytes) -> bytes:
  crc = _crc(page[:22] + bytes(4) + page[26:])
  return page[:22] + crc.to_bytes(4, "little") + page[26:]


def _page_end(data: bytes, start: int) -> int | None:
  """Returns where the page at `start` ends, None if there is no whole page."""
  header = data[start : start + 27]
  if len(header) < 27 or header[:4] != b"OggS":
    return None
  table = data[start + 27 : start + 27 + header[26]]
  end = start + 27 + header[26] + sum(table)
  return end if end <= len(data) else None


def _crc(page: bytes) -> int:
  """Returns Ogg's CRC-32: zlib's with reversed bits, from 0 and not inverted."""
  crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
  return int(f"{crc:032b}"[::-1], 2)
