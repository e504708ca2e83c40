"""Calls functions of audio that give something for each frame, on any clips."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxcodec.inference.ahead import one_ahead
from jaxcodec.inference.buckets import (
  batch_rows,
  group_by_length,
  in_order,
  pad_lengths,
  stack_rows,
)
from jaxcodec.types import TokenSpec


def by_frame(
  function: Callable[..., Any], spec: TokenSpec, clips: Sequence[np.ndarray]
) -> list[np.ndarray]:
  """Calls a function of frames on clips, batched by length and padded.

  Args:
    function: of (audio_BxN, length_B), gives (B, T, ...).
    spec: says how many frames a clip has.
    clips: mono audio, (N,) each.

  Returns:
    Each clip's own frames, (T, ...).
  """
  frames = [spec.num_frames(len(clip)) for clip in clips]

  def called() -> Iterator[tuple[list[int], Any]]:
    for padded, rows, members in group_by_length(frames, batch_rows(spec.hop)):
      audio_BxN = stack_rows([clips[i] for i in members], rows, padded * spec.hop)
      length_B = pad_lengths([len(clips[i]) for i in members], rows)
      yield members, function(audio_BxN, length_B)

  def each() -> Iterator[tuple[int, np.ndarray]]:
    for members, result in one_ahead(called()):
      rows = jax.device_get(result)
      for row, i in zip(rows, members, strict=False):
        yield i, row[: frames[i]]

  return in_order(each(), len(clips))
