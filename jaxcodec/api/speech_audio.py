"""Reads and checks users' recordings: mono, at the codec's rate."""

import math
import os
import pathlib
from typing import Any

import numpy as np

from jaxcodec.api import checks
from jaxcodec.data.audio.files import check_samples, read_audio, resample

_SILENCE = 1e-3  # -60 dB of full scale


def read_clip(
  audio: Any,
  rate: int | None,
  own_rate: int,
  *,
  name: str,
  shortest: float,
  longest: float = math.inf,
  kept: float = math.inf,
) -> np.ndarray:
  """Returns speech (N,) float32 at `own_rate`.

  Args:
    audio: a file, whose channels are averaged, or an array (N,), floats in [-1, 1] or
      int16.
    rate: Hz, if `audio` is an array; a file has its own.
    own_rate: the codec's, Hz.
    name: of the argument, for errors.
    shortest, longest: seconds; audio outside of them is an error.
    kept: seconds; the rest is dropped.

  Raises:
    ValueError: audio that cannot be read, is not mono, too short, too long or silent,
      or an array without a rate.
  """
  if isinstance(audio, str | os.PathLike):
    audio_N, found_rate = _read_file(audio, rate, name)
    name = str(audio)
  else:
    audio_N, found_rate = _check_array(audio, rate, name)
  seconds = len(audio_N) / found_rate
  if seconds < shortest:
    raise ValueError(
      f"{name}: is {seconds:.2f} s long, too short: at least {shortest} s are needed"
    )
  if seconds > longest:
    raise ValueError(
      f"{name}: is {seconds:.2f} s long, too long: at most {longest} s are possible"
    )
  if seconds > kept:
    audio_N = audio_N[: int(kept * found_rate)]
  if np.abs(audio_N).max() < _SILENCE:
    raise ValueError(f"{name}: is silent: all samples are within {_SILENCE} of 0")
  return resample(audio_N, found_rate, own_rate)


def _read_file(
  path: str | os.PathLike, rate: int | None, name: str
) -> tuple[np.ndarray, int]:
  if rate is not None:
    raise ValueError(f"{name}_rate must be None: the file {path} tells its own rate")
  return read_audio(pathlib.Path(path))


def _check_array(audio: Any, rate: int | None, name: str) -> tuple[np.ndarray, int]:
  if rate is None:
    raise ValueError(f"{name}_rate is missing: an array does not tell its rate, Hz")
  rate = checks.sample_rate(rate, rate)
  if len(shape := np.shape(audio)) != 1:
    raise ValueError(
      f"{name}: must be a mono clip of shape (N,), got {shape}; average its channels"
    )
  (audio_NxC,) = checks.clips(audio, None, 1)
  return check_samples(audio_NxC[:, 0], name), rate
