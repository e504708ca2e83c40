"""Calls functions of audio that give something for each frame, on any clips."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxcodec.inference.ahead import one_ahead
from jaxcodec.inference.buckets import in_order, pad_lengths, stack_rows
from jaxcodec.inference.placement import Placement
from jaxcodec.types import TokenSpec


def by_frame(
  function: Callable[..., Any],
  spec: TokenSpec,
  clips: Sequence[np.ndarray],
  placement: Placement | None = None,
) -> list[np.ndarray]:
  """Calls a function of frames on clips, batched by length and padded.

  Args:
    function: of (audio_BxN, length_B), gives (B, T, ...).
    spec: says how many frames a clip has.
    clips: mono audio, (N,) each.
    placement: of the batches; what else the function has must lie there, too.

  Returns:
    Each clip's own frames, (T, ...).
  """
  frames = [spec.num_frames(len(clip)) for clip in clips]
  place = placement or Placement()

  def called() -> Iterator[tuple[list[int], Any]]:
    for padded, rows, members in place.group_by_length(frames, spec.hop):
      audio_BxN = stack_rows([clips[i] for i in members], rows, padded * spec.hop)
      length_B = pad_lengths([len(clips[i]) for i in members], rows)
      batch = place.put((audio_BxN, length_B), split=True)
      with place.share():
        result = function(*batch)
      yield members, result

  def each() -> Iterator[tuple[int, np.ndarray]]:
    for members, result in one_ahead(called()):
      rows = jax.device_get(result)
      for row, i in zip(rows, members, strict=False):
        yield i, row[: frames[i]]

  return in_order(each(), len(clips))
