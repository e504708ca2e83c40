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

from jaxcodec.coding.adaptive import Blocks
from jaxcodec.coding.header import (
  ADAPTIVE,
  CRC,
  GROWING,
  GROWING_SMALL,
  MAGIC,
  PREFIX,
  code_bits,
  problem,
  unknown_coding,
)
from jaxcodec.coding.packed import Packed

_END = struct.Struct("<Q")
# How a record begins: its frames and, where they don't tell it, its size.
_HEADS = {GROWING: struct.Struct("<I"), GROWING_SMALL: struct.Struct("<II")}
_LONGEST_HEADER = 1 << 20  # bytes


class Writer:
  """Writes such a file, of one clip.

  Args:
    file: gets the bytes, and is flushed after the header and after each record.
    header: `spec`, `num_codebooks`, `sample_rate`, `fingerprint` and `version`, as in
      files of version 1.
    entropy: write version 4, which is smaller and takes longer.

  Raises:
    ValueError: a header that cannot be.
  """

  def __init__(
    self, file: BinaryIO, header: Mapping[str, Any], *, entropy: bool = False
  ):
    if wrong := problem(_completed(header, 1, 1)):
      raise ValueError(f"cannot be written: {wrong}")
    version = GROWING_SMALL if entropy else GROWING
    fields = {**header, "coding": ADAPTIVE} if entropy else dict(header)
    self._file, self._sum, self._head = file, 0, _HEADS[version]
    self._blocks = _blocks(version, header)
    text = json.dumps(fields, sort_keys=True, allow_nan=False).encode()
    self._write(PREFIX.pack(MAGIC, version, len(text)) + text)
    self._file.flush()

  def write(self, codes_TxK: np.ndarray) -> None:
    """Writes the codes of at least one frame as a record."""
    self._record(len(codes_TxK), self._blocks.encode(codes_TxK))

  def end(self, num_samples: int) -> None:
    """Says how many samples the clip had: the file is complete."""
    self._record(0, _END.pack(num_samples))

  def _record(self, frames, content):
    sized = self._head is _HEADS[GROWING_SMALL]
    self._write(self._head.pack(frames, *([len(content)] if sized else [])))
    self._write_sum()
    self._write(content)
    self._write_sum()

  def _write_sum(self):
    self._write(CRC.pack(self._sum))
    self._file.flush()

  def _write(self, content):
    self._sum = zlib.crc32(content, self._sum)
    self._file.write(content)


class Reader:
  """Reads such a file from bytes as they come.

  Args:
    only_check: read no codes, which takes long where they are coded under a model.

  Attributes:
    header: as `Writer` got it, and its `coding`; None until it has come.
    num_samples: of the whole clip; None until the file's end has come.
    num_frames: that have come.
  """

  def __init__(self, *, only_check: bool = False) -> None:
    self.header: dict[str, Any] | None = None
    self.num_samples: int | None = None
    self.num_frames = 0
    self._rest, self._at, self._sum = b"", 0, 0
    self._only_check = only_check

  def feed(self, content: bytes) -> list[np.ndarray]:
    """Takes what comes next; returns the codes (T, K) int32 of whole records.

    Raises:
      ValueError: saying what is wrong with the file.
    """
    self._rest, self._at = self._rest[self._at :] + content, 0
    if self.header is None and not self._read_header():
      return []
    records = []
    while (record := self._record()) is not None:
      if not self._only_check:
        records.append(self._codes(*record))
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
    if magic != MAGIC or version not in _HEADS or length > _LONGEST_HEADER:
      raise ValueError(f"is no token file of version {GROWING} or {GROWING_SMALL}")
    if self._left < PREFIX.size + length:
      return False
    self._take(PREFIX.size)
    try:
      header = json.loads(self._take(length))
      wrong = problem(_completed(header, 1, 1))
      if version == GROWING_SMALL:
        wrong = wrong or unknown_coding(header, [ADAPTIVE])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      wrong = repr(error)
    if wrong:
      raise ValueError(f"its header makes no sense: {wrong}")
    self.header, self._head = header, _HEADS[version]
    self._blocks = _blocks(version, header)
    return True

  def _record(self):
    """Takes a record; returns its content and frames, or None if there is none.

    There is none if it isn't whole or is the end.
    """
    if self.num_samples is not None:
      if self._left:
        raise ValueError("was altered: something follows its end")
      return None
    start = self._head.size
    if self._left < start + CRC.size:
      return None
    frames, *sizes = self._head.unpack_from(self._rest, self._at)
    size = sizes[0] if sizes else self._blocks.size(frames) if frames else _END.size
    if self._left < start + size + 2 * CRC.size:
      self._checked(start, taken=False)
      return None
    self._checked(start)
    content = self._checked(size)
    if frames:
      self.num_frames += frames
      return content, frames
    if size != _END.size:
      raise ValueError(f"makes no sense: its end has {size} bytes")
    (self.num_samples,) = _END.unpack(content)
    return self._record()

  def _codes(self, content, frames):
    codes_TxK = self._blocks.decode(content, frames)
    if codes_TxK.max() >= self.header["spec"]["codebook_size"]:
      raise ValueError("holds codes beyond its codebooks' size")
    return codes_TxK

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


def _blocks(version: int, header: Mapping[str, Any]) -> Packed | Blocks:
  """Returns what writes and reads the records' codes."""
  kind = Blocks if version == GROWING_SMALL else Packed
  return kind(header["num_codebooks"], code_bits(header))


def _completed(header, frames, samples):
  return {
    **header,
    "frames": [frames],
    "num_samples": [samples],
    "gaps": [[]],
    "gains": None,
  }
