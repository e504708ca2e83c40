"""Reads, by PyAV, the containers that libsndfile lacks: MP4, Matroska, AAC and others.

FFmpeg takes whatever is left of a cut file for a whole one, so their structure is
walked first.
"""

import contextlib
import io
import itertools
import os
import pathlib
import struct
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from jaxcodec.data import extras
from jaxcodec.data.audio import mpeg
from jaxcodec.data.audio.extents import Damaged

MP4, MATROSKA, AAC, ASF, AMR = "MP4", "Matroska or WebM", "AAC", "ASF", "AMR"
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")
_EBML = b"\x1a\x45\xdf\xa3"
_ASF = bytes.fromhex("3026b2758e66cf11")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER = 1 << 16  # bytes, in which the properties stand
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
# Seconds by which a header's duration may exceed the samples, whose first ones, the
# encoder's delay, a decoder leaves out.
_TOLERANCE = 0.1


def kind_of(path: pathlib.Path) -> str | None:
  """Returns the kind of container by the file's first bytes, None if libsndfile's."""
  with open(path, "rb") as file:
    head = file.read(16)
    if start := mpeg.skip_tag(head):
      file.seek(start)
      head = file.read(16)
  if head[4:8] in _BOXES:
    return MP4
  if head[:4] == _EBML:
    return MATROSKA
  if int.from_bytes(head[:2], "big") & 0xFFF6 == 0xFFF0:
    return AAC
  if head[:8] == _ASF:
    return ASF
  return AMR if head[:5] == b"#!AMR" else None


def open_stream(
  path: pathlib.Path, kind: str, stack: contextlib.ExitStack
) -> tuple[int, int, Iterator[np.ndarray]]:
  """Opens a file's first audio stream.

  Args:
    path: the file.
    kind: what `kind_of` says.
    stack: closes the file.

  Returns:
    The sample rate in Hz, the number of channels, and an iterator of blocks (n, C)
    float32, which raises `Damaged` at its end if samples are missing.

  Raises:
    MissingPackage: PyAV isn't installed.
    OSError, Damaged: the file can't be read, is cut, or holds no sound.
  """
  what = f"{path}: reading {kind} files"
  (av,) = extras.import_modules("av", "av", field=what, extra="containers")
  with open(path, "rb") as file:
    if check := _CHECKS.get(kind):
      check(file, file.seek(0, io.SEEK_END))
  with _named(av):
    # Tags may be in any encoding.
    opened = av.open(os.fspath(path), metadata_errors="replace")
    container = stack.enter_context(opened)
    if not container.streams.audio:
      raise Damaged("holds no sound")
    stream = container.streams.audio[0]
    if stream.codec_context.name == "flac":
      # Its frames have checksums, which FFmpeg lets pass.
      stream.codec_context.options = {"err_detect": "crccheck+explode"}
    frames = container.decode(stream)
    first = next(frames, None)
  if first is None:
    raise Damaged("has no samples")
  rate, channels = first.sample_rate, first.layout.nb_channels
  blocks = _blocks(av, first, frames, _length(container, stream, rate, kind))
  return rate, channels, blocks


@contextlib.contextmanager
def _named(av):
  """Turns FFmpeg's errors into `Damaged`."""
  try:
    yield
  except av.error.FFmpegError as error:
    raise Damaged(f"cannot be read as audio: {error.strerror}") from error


def _length(container, stream, rate, kind):
  """Returns (least samples, most samples) that the header allows; None if any."""
  spare = int(_TOLERANCE * rate)
  if kind == MP4 and stream.duration and stream.time_base == Fraction(1, rate):
    return stream.duration - spare, stream.duration
  if kind == MATROSKA and container.duration:
    return int(container.duration / 1_000_000 * rate) - spare, None
  return None, None


def _blocks(av, first, frames, length):
  """Yields the samples (n, C), those beyond the most that are allowed cut off."""
  least, most = length
  resampler = av.AudioResampler("fltp", first.layout.name, first.sample_rate)
  total = 0
  with _named(av):
    for frame in itertools.chain([first], frames, [None]):
      if frame is not None and frame.is_corrupt:
        raise Damaged(f"is damaged after {total} samples")
      for part in resampler.resample(frame):
        block = part.to_ndarray().T
        block = block if most is None else block[: max(0, most - total)]
        total += len(block)
        yield np.ascontiguousarray(block)
  if least is not None and total < least:
    raise Damaged(f"truncated: {total} samples of the {least} promised")


def _check_boxes(file, size):
  """Raises `Damaged` if a box of an MP4 file (ISO 14496-12) ends behind the file."""
  at = 0
  while at + 8 <= size:
    file.seek(at)
    length, name, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
    length = long if length == 1 else length or size - at
    if length < 8 or at + length > size:
      raise Damaged(
        f"truncated: its box {name!r} ends at byte {at + length}, of {size}"
      )
    at += length
  if at != size:
    raise Damaged(f"truncated or damaged: {size - at} bytes follow its last box")


def _check_elements(file, size):
  """Raises `Damaged` if an element of a Matroska file (RFC 8794) ends behind it."""
  at = 0
  while at < size:
    file.seek(at)
    head = file.read(12)
    name_bytes, name = _vint(head, keep_mark=True)
    size_bytes, length = _vint(head[name_bytes:])
    if not name_bytes or not size_bytes:
      raise Damaged(f"truncated or damaged at byte {at}: there should be an element")
    at += name_bytes + size_bytes
    unknown = length == (1 << 7 * size_bytes) - 1
    if not unknown and at + length > size:
      raise Damaged(
        f"truncated: an element of it ends at byte {at + length}, of {size}"
      )
    if name not in (_SEGMENT, _CLUSTER):
      at = size if unknown else at + length


def _vint(data, keep_mark=False):
  """Returns the bytes and the value of EBML's integer, (0, 0) if there is none."""
  if not data or not data[0]:
    return 0, 0
  count = 9 - data[0].bit_length()
  if len(data) < count:
    return 0, 0
  value = int.from_bytes(data[:count], "big")
  return count, value if keep_mark else value & ((1 << 7 * count) - 1)


def _check_adts(file, size):
  """Raises `Damaged` if a frame of AAC (ADTS, ISO 13818-7) isn't whole."""
  file.seek(0)
  data = file.read()
  at = mpeg.skip_tag(data)
  while at + 7 <= size and data[at] == 0xFF and data[at + 1] & 0xF6 == 0xF0:
    at += int.from_bytes(data[at + 3 : at + 6], "big") >> 5 & 0x1FFF
  if at > size or (at < size and data[at : at + 3] not in (b"TAG", b"APE")):
    raise Damaged(f"truncated or damaged: its last whole frame ends at byte {at}")


def _check_asf(file, size):
  """Raises `Damaged` if a file of ASF lacks what its header says it has."""
  file.seek(0)
  head = file.read(_ASF_HEADER)
  at = head.find(_ASF_PROPERTIES)
  fields = head[at + 40 : at + 92] if at >= 0 else b""
  promised, flags = int.from_bytes(fields[:8], "little"), fields[48:52]
  streamed = int.from_bytes(flags, "little") & 1
  if not streamed and promised > size:
    raise Damaged(f"truncated: its header promises {promised} bytes, it has {size}")


_CHECKS = {
  MP4: _check_boxes,
  MATROSKA: _check_elements,
  AAC: _check_adts,
  ASF: _check_asf,
}
