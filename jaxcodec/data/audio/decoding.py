"""Decodes sound files block by block to their ends; what is decoded is their length.

libsndfile reads most formats. Containers that it lacks, such as MP4, are PyAV's.
"""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import soundfile

from jaxcodec.data.audio import containers, integrity
from jaxcodec.data.audio.extents import Damaged
from jaxcodec.data.source import DataError

# Hz. Beyond these a header is damaged; to resample from 1 Hz would fill the memory.
MIN_RATE, MAX_RATE = 1_000, 1_000_000
_BLOCK = 1 << 20  # samples of all channels
_UNKNOWN = 1 << 62  # libsndfile gives FLACs of unknown length about 2^63 samples


class Sound(NamedTuple):
  """An opened file.

  Attributes:
    sample_rate: Hz.
    num_channels: C.
    blocks: float32 (n, C) in turn; at the end they raise if some were missing.
  """

  sample_rate: int
  num_channels: int
  blocks: Iterator[np.ndarray]


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Sound]:
  """Opens a sound file; reading its blocks raises the same errors.

  Raises:
    DataError: naming the file, if it's unreadable, cut or damaged, or has a sample rate
      that no sound has.
  """
  path = pathlib.Path(path)
  with contextlib.ExitStack() as stack:
    with _naming(path):
      sound = _open(path, stack)
    yield sound._replace(blocks=_read_all(path, sound.blocks))


def _read_all(path, blocks):
  with _naming(path):
    yield from blocks


@contextlib.contextmanager
def _naming(path):
  """Makes what goes wrong with a file a `DataError` that names it."""
  try:
    yield
  except (OSError, soundfile.SoundFileError, MemoryError) as error:
    raise DataError(f"{path}: cannot be read as audio: {_reason(error)}") from error
  except Damaged as error:
    raise DataError(f"{path}: {error}") from error


class _Stream(soundfile.SoundFile):
  """A file that is read forward only, as some that libsndfile can't seek in must be."""

  def seekable(self) -> bool:
    return False


def _open(path, stack):
  if kind := containers.kind_of(path):
    sound = Sound(*containers.open_stream(path, kind, stack))
  else:
    parts = integrity.parts(path)
    first = _open_part(path, parts[0], stack)
    blocks = _blocks(path, first, parts, stack)
    sound = Sound(first.samplerate, first.channels, blocks)
  if not MIN_RATE <= sound.sample_rate <= MAX_RATE:
    raise Damaged(
      f"is damaged: its header says {sound.sample_rate} Hz; expected {MIN_RATE} to"
      f" {MAX_RATE}"
    )
  return sound


def _open_part(path, part, stack):
  if part.content is not None:
    sound = stack.enter_context(_Stream(io.BytesIO(part.content)))
  else:
    # By its number, since libsndfile can't be given a name that isn't Unicode.
    file = stack.enter_context(open(path, "rb"))
    sound = stack.enter_context(_Stream(file.fileno(), closefd=False))
  if sound.subtype == "OPUS":
    # Only then does libsndfile leave out the encoder's delay, which the header states.
    sound.seek(0)
  return sound


def _blocks(path, first, parts, stack):
  for number, part in enumerate(parts):
    file = _open_part(path, part, stack) if number else first
    if (file.samplerate, file.channels) != (first.samplerate, first.channels):
      raise Damaged(
        f"is several files in one, of {first.samplerate} Hz and {first.channels}"
        f" channels, and of {file.samplerate} Hz and {file.channels}"
      )
    yield from _checked(part, file)


def _checked(part, file):
  """Yields the blocks of a part; raises `Damaged` at its end if it is not whole."""
  total = 0
  while len(block := _read(file)):
    total += len(block)
    if part.checksum:
      part.checksum.update(block)
    yield block
  if part.exact and total < file.frames < _UNKNOWN:
    raise Damaged(f"truncated: {total} samples of the {file.frames} promised")
  if part.checksum:
    part.checksum.check()


def _read(file):
  """Returns as many samples as there were, up to a block's."""
  out = np.empty((max(1, _BLOCK // file.channels), file.channels), np.float32)
  return file.read(out=out)


def _reason(error):
  """Returns the error's text, without the number that a file was opened by."""
  if isinstance(error, soundfile.LibsndfileError):
    return error.error_string
  return str(error) or type(error).__name__
