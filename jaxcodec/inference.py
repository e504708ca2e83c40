"""A codec on lists of clips of any length, with a handful of compiled shapes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.types import Tokens

# A batch holds about so many samples, whatever the length of its clips.
_BATCH_SAMPLES = 2**18
_SMALLEST_FRAMES = 64


def bucket(frames: int) -> int:
  """The padded length for so many frames: the next power of two, at least 64."""
  return max(_SMALLEST_FRAMES, 1 << (frames - 1).bit_length())


def bucketed(
  lengths: Sequence[int], batch_size: Callable[[int], int]
) -> Iterator[tuple[int, int, list[int]]]:
  """Groups items of like length, in frames.

  Yields:
    (padded frames, rows of a batch, indices of at most so many items).
  """
  groups: dict[int, list[int]] = {}
  for index, length in enumerate(lengths):
    groups.setdefault(bucket(length), []).append(index)
  for padded, members in sorted(groups.items()):
    rows = batch_size(padded)
    for start in range(0, len(members), rows):
      yield padded, rows, members[start : start + rows]


class CodecRunner:
  """A codec with its variables, on lists of clips.

  The result for a clip does not depend on the others: see `Codec.encode`.
  """

  def __init__(self, codec: Codec, variables: Any):
    self._variables = jax.device_put(variables)
    self._hop = codec.spec.hop
    self._num_codebooks = codec.spec.num_codebooks
    self._encode = jax.jit(lambda *args: codec.apply(*args, method="encode"))
    self._decode = jax.jit(lambda *args: codec.apply(*args, method="decode"))

  def encode(
    self, clips: Sequence[np.ndarray], done: Callable[[int], None] | None = None
  ) -> list[np.ndarray]:
    """Codes (T, K) int32 of each mono clip (N,) at the codec's rate.

    Args:
      clips: float audio in [-1, 1].
      done: called with the number of clips that were just encoded.
    """
    frames = [-(-len(clip) // self._hop) for clip in clips]
    results: list[np.ndarray] = [np.empty(0)] * len(clips)
    for padded, rows, members in bucketed(frames, self._rows):
      audio_BxN = _stack([clips[i] for i in members], rows, padded * self._hop)
      length_B = _lengths([len(clips[i]) for i in members], rows)
      tokens = self._encode(self._variables, audio_BxN[..., None], length_B)
      codes_BxTxK = np.asarray(tokens.codes_BxTxK)
      for row, i in enumerate(members):
        results[i] = codes_BxTxK[row, : frames[i]]
      if done:
        done(len(members))
    return results

  def decode(
    self, codes: Sequence[np.ndarray], done: Callable[[int], None] | None = None
  ) -> list[np.ndarray]:
    """Mono audio (T * hop,) float32 of the codes (T, K) of each clip."""
    results: list[np.ndarray] = [np.empty(0)] * len(codes)
    for padded, rows, members in bucketed([len(c) for c in codes], self._rows):
      codes_BxTxK = _stack([codes[i] for i in members], rows, padded)
      length_B = _lengths([len(codes[i]) for i in members], rows)
      mask_BxT = jnp.arange(padded)[None] < length_B[:, None]
      tokens = Tokens(codes_BxTxK, mask_BxT)
      audio_BxN = np.asarray(self._decode(self._variables, tokens))[..., 0]
      for row, i in enumerate(members):
        results[i] = audio_BxN[row, : len(codes[i]) * self._hop]
      if done:
        done(len(members))
    return results

  def _rows(self, padded_frames: int) -> int:
    return max(1, _BATCH_SAMPLES // (padded_frames * self._hop))


def _stack(arrays, rows, length):
  """Zero-padded to (rows, length, ...)."""
  stacked = np.zeros((rows, length, *arrays[0].shape[1:]), arrays[0].dtype)
  for row, array in zip(stacked, arrays, strict=False):
    row[: len(array)] = array
  return stacked


def _lengths(lengths, rows):
  return np.array(lengths + [0] * (rows - len(lengths)), np.int32)
