"""Reading and writing of audio files; a file that is damaged or odd is an error."""

import io
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from jaxcodec import files
from jaxcodec.data.audio import decoding
from jaxcodec.data.source import DataError

# What libsndfile reads, and behind it what PyAV reads.
SUFFIXES = (
  *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
  *(".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64", ".sph"),
  *(".m4a", ".mp4", ".m4b", ".aac", ".webm", ".mka", ".mkv", ".wma", ".mov", ".3gp"),
)
MAX_WAV = (1 << 32) - 1024  # bytes of samples, with room for what else it may hold
# Float files may overshoot full scale a little; far beyond it they hold integers.
MAX_PEAK = 2.0


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
  with decoding.opened(path) as sound:
    blocks = list(_checked(sound, path))
    audio_NxC = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return audio_NxC, sound.sample_rate


def scan_audio(path: pathlib.Path) -> AudioInfo:
  """Reads a file through without keeping its samples; raises as `read_audio`."""
  with decoding.opened(path) as sound:
    total = sum(map(len, _checked(sound, path)))
    return AudioInfo(total, sound.num_channels, sound.sample_rate)


def read_rate(path: pathlib.Path) -> int:
  """Returns the sample rate in Hz of a file's header; raises as `read_audio`."""
  with decoding.opened(path) as sound:
    return sound.sample_rate


def to_int16(audio: np.ndarray) -> np.ndarray:
  """Returns samples as 16-bit integers, clipped: exact for those of 16-bit files."""
  return np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16)


def write_wav(path: files.PathLike, audio: np.ndarray, sample_rate: int) -> None:
  """Writes audio (N,) or (N, C) in 16 bits, clipped to [-1, 1], in one step.

  Raises:
    DataError: it is too long for a wav file.
  """
  check_wav_size(path, audio.size, 1)
  # In memory first, since libsndfile's errors don't say that a disk is full.
  content = io.BytesIO()
  soundfile.write(content, np.clip(audio, -1, 1), sample_rate, "PCM_16", format="WAV")
  files.write_bytes(path, content.getbuffer())


def check_wav_size(path: files.PathLike, num_samples: int, num_channels: int) -> None:
  """Raises `DataError` if a wav file can't hold so much 16-bit audio."""
  if 2 * num_samples * num_channels > MAX_WAV:
    raise DataError(
      f"{path}: a wav file holds at most 4 GiB, {MAX_WAV // (2 * num_channels)} samples"
    )


def resample(audio: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
  """Resamples audio (N,) or (N, C) by soxr HQ; `resampled_length` gives the length."""
  if source_rate == rate:
    return audio
  found = soxr.resample(audio, source_rate, rate, quality="HQ")
  return of_length(found, resampled_length(len(audio), source_rate, rate))


def of_length(audio: np.ndarray, length: int) -> np.ndarray:
  """Cuts audio (N,) or (N, C), or adds silence, at its end.

  Of some lengths, 240 samples at 48 kHz among them, soxr gives one sample less at
  44.1 kHz, since it halves up what floating point has rounded.
  """
  missing = ((0, max(0, length - len(audio))),) + ((0, 0),) * (audio.ndim - 1)
  return np.pad(audio[:length], missing)


def resampled_length(num_samples: int, source_rate: int, rate: int) -> int:
  """Returns how many samples `resample` gives: the same duration, rounded half up."""
  return (2 * num_samples * rate + source_rate) // (2 * source_rate)


def _checked(sound: decoding.Sound, path: pathlib.Path) -> Iterator[np.ndarray]:
  """Yields the blocks of a sound, checked; raises `DataError` if there are none."""
  found = False
  for block in sound.blocks:
    if len(block):
      found = True
      yield check_samples(block, str(path))
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
