"""Applies users' sampling options to a sampler."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

_MAX_SECONDS, _MAX_FRAMES = "max_seconds", "max_frames"
_OTHERS = "nar_temperature"


def with_options(sampler: Any, frame_rate: float, options: Mapping[str, Any]) -> Any:
  """Returns the sampler with some of its fields replaced.

  Args:
    sampler: an `IterativeSampler`, an `ArSampler` or a `DelaySampler`.
    frame_rate: of the codec, Hz.
    options: its fields, or `max_seconds` instead of `max_frames`; None keeps the
      sampler's own value. A `temperature` of 0 also sets `nar_temperature` to 0.

  Raises:
    ValueError: an option that this sampler lacks, or an impossible value.
  """
  fields = {name: value for name, value in options.items() if value is not None}
  known = {field.name for field in dataclasses.fields(sampler)}
  if _MAX_FRAMES in known:
    known.add(_MAX_SECONDS)
  for name, value in fields.items():
    if name not in known:
      raise ValueError(f"this model has no option {name!r}; it has {sorted(known)}")
    if isinstance(value, numbers.Real) and not math.isfinite(value):
      raise ValueError(f"{name} must be finite, got {value}")
    whole = type(getattr(sampler, name, None)) is int
    if whole and not isinstance(value, numbers.Integral):
      raise ValueError(f"{name} must be an integer, got {value!r}")
  if {_MAX_SECONDS, _MAX_FRAMES} <= fields.keys():
    raise ValueError(f"give {_MAX_SECONDS} or {_MAX_FRAMES}, not both")
  if fields.get("temperature") == 0 and _draws_others(sampler):
    fields = {_OTHERS: 0.0, **fields}
  if _MAX_SECONDS in fields:
    fields[_MAX_FRAMES] = _frames(fields.pop(_MAX_SECONDS), frame_rate)
  try:
    return dataclasses.replace(sampler, **fields)
  except TypeError as error:
    raise ValueError(f"options {fields}: {error}") from error


def _draws_others(sampler: Any) -> bool:
  """Whether codes of codebooks but the first are drawn, as the first's are."""
  return hasattr(sampler, _OTHERS) and sampler.nar_choice == "draw"


def _frames(seconds: float, frame_rate: float) -> int:
  frames = int(seconds * frame_rate)
  if frames < 1:
    raise ValueError(
      f"{_MAX_SECONDS} must be at least a frame of {1 / frame_rate:.3f} s, got"
      f" {seconds}"
    )
  return frames
