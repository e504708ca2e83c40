"""Audio files, read strictly: what is not whole and finite is an error."""

import contextlib
import pathlib
import struct
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from jaxcodec import files
from jaxcodec.data.source import DataError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
# Float files may overshoot full scale a little; far beyond it they hold integers.
MAX_PEAK = 2.0
_BLOCK = 1 << 20  # samples


class AudioInfo(NamedTuple):
  """What a sound file holds; `sample_rate` in Hz."""

  num_samples: int
  num_channels: int
  sample_rate: int


def read_audio(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """Mono float32 samples and their rate in Hz; channels are averaged.

  Raises:
    DataError: unreadable, truncated, empty, or with NaN, Inf or huge samples.
  """
  audio_NxC, rate = read_channels(path)
  return audio_NxC.mean(axis=1), rate


def read_channels(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """Float32 samples (N, C) and their rate in Hz; raises as `read_audio` does."""
  with _opened(path) as file:
    audio_NxC = file.read(dtype="float32", always_2d=True)
    _check_length(path, len(audio_NxC), file.frames)
    return check_samples(audio_NxC, str(path)), file.samplerate


def scan_audio(path: pathlib.Path) -> AudioInfo:
  """Reads a file through without keeping it; raises as `read_audio` does."""
  total = 0
  with _opened(path) as file:
    for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
      total += len(check_samples(block, str(path)))
    _check_length(path, total, file.frames)
    return AudioInfo(total, file.channels, file.samplerate)


def read_rate(path: pathlib.Path) -> int:
  """A file's sample rate in Hz, by its header; raises as `read_audio` does."""
  with _opened(path) as file:
    return file.samplerate


def to_int16(audio: np.ndarray) -> np.ndarray:
  """Float samples as 16-bit integers, clipped: exact for what 16-bit files hold."""
  return np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16)


def write_wav(path: files.PathLike, audio: np.ndarray, sample_rate: int) -> None:
  """Writes 16-bit audio (N,) or (N, C) in [-1, 1], clipped beyond, whole or not."""
  with files.replacing(path) as temporary:
    soundfile.write(temporary, np.clip(audio, -1, 1), sample_rate, "PCM_16")


def resample(audio: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
  """Audio (N,) or (N, C) at `rate` Hz by soxr HQ: see `resampled_length`."""
  if source_rate == rate:
    return audio
  return soxr.resample(audio, source_rate, rate, quality="HQ")


def resampled_length(num_samples: int, source_rate: int, rate: int) -> int:
  """Samples that `resample` gives: the same duration, rounded, half up."""
  return (2 * num_samples * rate + source_rate) // (2 * source_rate)


@contextlib.contextmanager
def _opened(path):
  try:
    _check_whole(path)
    with soundfile.SoundFile(path) as file:
      yield file
  except (OSError, soundfile.LibsndfileError) as error:
    raise DataError(f"{path}: cannot be read as audio: {error}") from error


def _check_length(path, found, promised):
  if found < promised:
    raise DataError(f"{path}: truncated: {found} samples of the {promised} promised")
  if not found:
    raise DataError(f"{path}: has no samples")


def check_samples(audio: np.ndarray, name: str) -> np.ndarray:
  """Returns `audio`; raises `DataError` if it is empty, not finite or not audio."""
  if not len(audio):
    raise DataError(f"{name}: has no samples")
  peak = np.max(np.abs(audio))
  if not np.isfinite(peak):
    raise DataError(f"{name}: contains NaN or Inf samples")
  if peak > MAX_PEAK:
    raise DataError(f"{name}: samples reach {peak:.4g}; expected them within [-1, 1]")
  return audio


def _check_whole(path):
  """Finds the cuts that libsndfile mends in silence: in wav and ogg files."""
  size = path.stat().st_size
  if size == 0:
    raise DataError(f"{path}: is an empty file")
  with open(path, "rb") as file:
    magic = file.read(4)
    if magic == b"RIFF" and (end := _wav_data_end(file, size)) > size:
      raise DataError(
        f"{path}: truncated: its header promises {end} bytes, it has {size}"
      )
    if magic == b"OggS" and not _ogg_ended(file, size):
      raise DataError(f"{path}: truncated: its last Ogg page is missing")


def _wav_data_end(file, size):
  """Byte at which the data chunk should end; 0 where the header does not say."""
  file.seek(12)
  while len(header := file.read(8)) == 8:
    name, length = struct.unpack("<4sI", header)
    if name == b"data":
      # Streamed files leave the length open.
      return 0 if length == 0xFFFFFFFF else file.tell() + length
    file.seek(length + length % 2, 1)
  return 0


def _ogg_ended(file, size):
  """Whether the last page carries the end-of-stream flag and is complete."""
  file.seek(max(0, size - 65536))
  tail = file.read()
  start = tail.rfind(b"OggS")
  if start < 0 or len(tail) < start + 27 or not tail[start + 5] & 4:
    return False
  segments = tail[start + 26]
  table = tail[start + 27 : start + 27 + segments]
  return len(tail) >= start + 27 + segments + sum(table) and len(table) == segments
