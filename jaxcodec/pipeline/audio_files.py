"""The experiment's own wav files."""

import os

import numpy as np
import soundfile


def read_wav(path: str | os.PathLike) -> np.ndarray:
  """Mono audio (N,) float32 of a file that was written by `write_wav`."""
  audio_N, _ = soundfile.read(path, dtype="float32")
  return audio_N


def safe_name(utterance_id: str) -> str:
  """The id as a file name."""
  return utterance_id.replace("/", "_").replace("\\", "_")
