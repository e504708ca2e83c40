"""Wav files that are either whole or not there."""

import io
import os

import numpy as np
import soundfile

from jaxcodec import files


def write_wav(path: str | os.PathLike, audio_N: np.ndarray, sample_rate: int) -> None:
  """Writes 16-bit mono audio (N,) in [-1, 1]; what is beyond is clipped."""
  buffer = io.BytesIO()
  clipped_N = np.clip(audio_N, -1, 1)
  soundfile.write(buffer, clipped_N, sample_rate, format="WAV", subtype="PCM_16")
  files.write_bytes(path, buffer.getvalue())


def read_wav(path: str | os.PathLike) -> np.ndarray:
  """Mono audio (N,) float32 of a file of `write_wav`."""
  audio_N, _ = soundfile.read(path, dtype="float32")
  return audio_N


def safe_name(utterance_id: str) -> str:
  """The id as a file name."""
  return utterance_id.replace("/", "_").replace("\\", "_")
