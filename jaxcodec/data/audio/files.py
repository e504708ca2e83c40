"""Reading and writing of audio files; a file that is damaged or odd is an error."""

import contextlib
import pathlib
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from jaxcodec import files
from jaxcodec.data.audio import integrity
from jaxcodec.data.source import DataError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
# Float files may overshoot full scale a little; far beyond it they hold integers.
MAX_PEAK = 2.0
_BLOCK = 1 << 20  # samples


class AudioInfo(NamedTuple):
  """Size of a sound file's content; `sample_rate` is in Hz."""

  num_samples: int
  num_channels: int
  sample_rate: int


def read_audio(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """Returns mono float32 samples (N,) and their rate in Hz; channels are averaged.

  Raises:
    DataError: unreadable, truncated, empty, or with NaN, Inf or huge samples.
  """
  audio_NxC, rate = read_channels(path)
  return audio_NxC.mean(axis=1), rate


def read_channels(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """Returns float32 samples (N, C) and their rate in Hz; raises as `read_audio`."""
  with _open(path) as file:
    audio_NxC = file.read(dtype="float32", always_2d=True)
    _check_length(path, len(audio_NxC), file.frames)
    checksum = integrity.FlacChecksum(path)
    checksum.update(audio_NxC)
    checksum.check()
    return check_samples(audio_NxC, str(path)), file.samplerate


def scan_audio(path: pathlib.Path) -> AudioInfo:
  """Reads a file through without keeping its samples; raises as `read_audio`."""
  total = 0
  with _open(path) as file:
    checksum = integrity.FlacChecksum(path)
    for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
      total += len(check_samples(block, str(path)))
      checksum.update(block)
    _check_length(path, total, file.frames)
    checksum.check()
    return AudioInfo(total, file.channels, file.samplerate)


def read_rate(path: pathlib.Path) -> int:
  """Returns the sample rate in Hz of a file's header; raises as `read_audio`."""
  with _open(path) as file:
    return file.samplerate


def to_int16(audio: np.ndarray) -> np.ndarray:
  """Returns samples as 16-bit integers, clipped: exact for those of 16-bit files."""
  return np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16)


def write_wav(path: files.PathLike, audio: np.ndarray, sample_rate: int) -> None:
  """Writes audio (N,) or (N, C) in 16 bits, clipped to [-1, 1], in one step."""
  with files.replacing(path) as temporary:
    soundfile.write(temporary, np.clip(audio, -1, 1), sample_rate, "PCM_16")


def resample(audio: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
  """Resamples audio (N,) or (N, C) by soxr HQ; `resampled_length` gives the length."""
  if source_rate == rate:
    return audio
  return soxr.resample(audio, source_rate, rate, quality="HQ")


def resampled_length(num_samples: int, source_rate: int, rate: int) -> int:
  """Returns how many samples `resample` gives: the same duration, rounded half up."""
  return (2 * num_samples * rate + source_rate) // (2 * source_rate)


@contextlib.contextmanager
def _open(path):
  try:
    integrity.check_file(path)
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
