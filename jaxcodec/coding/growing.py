"""Token files that grow: records, each with checksums of all that is before them.

Such a file can be read while it is written, and up to its last whole record if that
stopped anywhere.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from jaxcodec.coding.header import CRC, GROWING, MAGIC, PREFIX, code_bits, problem
from jaxcodec.coding.packed import pack, unpack

_FRAMES, _END = struct.Struct("<I"), struct.Struct("<Q")
_LONGEST_HEADER = 1 << 20  # bytes


class Writer:
  """Writes such a file, of one clip.

  Args:
    file: gets the bytes, and is flushed after each record.
    header: `spec`, `num_codebooks`, `sample_rate`, `fingerprint` and `version`, as in
      files of version 1.

  Raises:
    ValueError: a header that cannot be.
  """

  def __init__(self, file: BinaryIO, header: Mapping[str, Any]):
    if wrong := problem(_completed(header, 1, 1)):
      raise ValueError(f"cannot be written: {wrong}")
    self._file, self._sum, self._bits = file, 0, code_bits(header)
    text = json.dumps(dict(header), sort_keys=True, allow_nan=False).encode()
    self._write(PREFIX.pack(MAGIC, GROWING, len(text)) + text)

  def write(self, codes_TxK: np.ndarray) -> None:
    """Writes the codes of at least one frame as a record."""
    self._write(_FRAMES.pack(len(codes_TxK)))
    self._write_sum()
    self._write(pack(codes_TxK.ravel(), self._bits))
    self._write_sum()

  def end(self, num_samples: int) -> None:
    """Says how many samples the clip had: the file is complete."""
    self._write(_FRAMES.pack(0))
    self._write_sum()
    self._write(_END.pack(num_samples))
    self._write_sum()

  def _write_sum(self):
    self._write(CRC.pack(self._sum))
    self._file.flush()

  def _write(self, content):
    self._sum = zlib.crc32(content, self._sum)
    self._file.write(content)


class Reader:
  """Reads such a file from bytes as they come.

  Attributes:
    header: as `Writer` got it; None until it has come.
    num_samples: of the whole clip; None until the file's end has come.
    num_frames: that have come.
  """

  def __init__(self) -> None:
    self.header: dict[str, Any] | None = None
    self.num_samples: int | None = None
    self.num_frames = 0
    self._rest, self._at, self._sum = b"", 0, 0

  def feed(self, content: bytes) -> list[np.ndarray]:
    """Takes what comes next; returns the codes (T, K) int32 of whole records.

    Raises:
      ValueError: saying what is wrong with the file.
    """
    self._rest, self._at = self._rest[self._at :] + content, 0
    if self.header is None and not self._read_header():
      return []
    records = []
    while (codes_TxK := self._record()) is not None:
      records.append(codes_TxK)
    return records

  @property
  def complete_header(self) -> dict[str, Any]:
    """The header with what version 1 says of frames and samples, as far as known.

    The samples of a file that has no end are those of its frames.
    """
    assert self.header is not None
    spec, samples = self.header["spec"], self.num_samples
    if samples is None:
      rate = self.header["sample_rate"]
      samples = self.num_frames * spec["hop"] * rate // spec["sample_rate"]
    complete = self.num_samples is not None
    return {
      **_completed(self.header, self.num_frames, samples),
      "complete": complete,
    }

  def _read_header(self):
    if self._left < PREFIX.size:
      return False
    magic, version, length = PREFIX.unpack_from(self._rest)
    if (magic, version) != (MAGIC, GROWING) or length > _LONGEST_HEADER:
      raise ValueError(f"is no token file of version {GROWING}")
    if self._left < PREFIX.size + length:
      return False
    self._take(PREFIX.size)
    try:
      header = json.loads(self._take(length))
      wrong = problem(_completed(header, 1, 1))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      wrong = repr(error)
    if wrong:
      raise ValueError(f"its header makes no sense: {wrong}")
    self.header = header
    return True

  def _record(self):
    """Takes a record; returns its codes, or None if it isn't whole or is the end."""
    if self.num_samples is not None:
      if self._left:
        raise ValueError("was altered: something follows its end")
      return None
    head = _FRAMES.size + CRC.size
    if self._left < head:
      return None
    (frames,) = _FRAMES.unpack_from(self._rest, self._at)
    bits, K = code_bits(self.header), self.header["num_codebooks"]
    size = -(-frames * K * bits // 8) if frames else _END.size
    if self._left < head + size + CRC.size:
      self._checked(_FRAMES.size, taken=False)
      return None
    self._checked(_FRAMES.size)
    content = self._checked(size)
    if not frames:
      (self.num_samples,) = _END.unpack(content)
      return self._record()
    return self._codes(unpack(content, bits, frames * K), frames)

  def _codes(self, flat, frames):
    if flat.max() >= self.header["spec"]["codebook_size"]:
      raise ValueError("holds codes beyond its codebooks' size")
    self.num_frames += frames
    return flat.astype(np.int32).reshape(frames, -1)

  @property
  def _left(self):
    return len(self._rest) - self._at

  def _checked(self, size, taken=True):
    """Returns so many bytes, as the checksum behind them has them, and takes both."""
    before = self._at, self._sum
    content, expected = self._take(size), self._sum
    if CRC.unpack(self._take(CRC.size)) != (expected,):
      raise ValueError("was altered: a checksum is wrong")
    if not taken:
      self._at, self._sum = before
    return content

  def _take(self, size):
    taken = self._rest[self._at : self._at + size]
    self._at += size
    self._sum = zlib.crc32(taken, self._sum)
    return taken


def _completed(header, frames, samples):
  return {
    **header,
    "frames": [frames],
    "num_samples": [samples],
    "gaps": [[]],
    "gains": None,
  }
