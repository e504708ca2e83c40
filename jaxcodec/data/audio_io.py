"""Reading one audio file, strictly: what is not whole and finite is an error."""

import pathlib
import struct

import numpy as np
import soundfile

from jaxcodec.data.source import DataError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
# Float files may overshoot full scale a little; far beyond it they hold integers.
MAX_PEAK = 2.0


def read_audio(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """Mono float32 samples and their rate in Hz; channels are averaged.

  Raises:
    DataError: unreadable, truncated, empty, or with NaN, Inf or huge samples.
  """
  try:
    _check_whole(path)
    with soundfile.SoundFile(path) as file:
      frames, rate = file.frames, file.samplerate
      audio_NxC = file.read(dtype="float32", always_2d=True)
  except (OSError, soundfile.LibsndfileError) as error:
    raise DataError(f"{path}: cannot be read as audio: {error}") from error
  if len(audio_NxC) < frames:
    raise DataError(
      f"{path}: truncated: {len(audio_NxC)} samples of the {frames} in its header"
    )
  return check_samples(audio_NxC.mean(axis=1), str(path)), rate


def check_samples(audio_N: np.ndarray, name: str) -> np.ndarray:
  """Returns `audio_N`; raises `DataError` if it is empty, not finite or not audio."""
  if not len(audio_N):
    raise DataError(f"{name}: has no samples")
  peak = np.max(np.abs(audio_N))
  if not np.isfinite(peak):
    raise DataError(f"{name}: contains NaN or Inf samples")
  if peak > MAX_PEAK:
    raise DataError(f"{name}: samples reach {peak:.4g}; expected them within [-1, 1]")
  return audio_N


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
