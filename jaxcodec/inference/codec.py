"""A codec on lists of clips of any length, with a handful of compiled shapes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.inference.buckets import (
  bucket,
  bucketed,
  in_order,
  pad_lengths,
  stack_rows,
)
from jaxcodec.nn.inference_layout import fold_for_inference
from jaxcodec.types import Tokens, TokenSpec

# A batch holds about so many samples, whatever the length of its clips.
_BATCH_SAMPLES = 2**18
_fold = jax.jit(fold_for_inference)


class Coded(NamedTuple):
  """What a clip is coded to.

  Attributes:
    codes_TxK: int32 codes.
    mask_T: bool, its valid frames; all if None.
    gain_S: float32 level of its segments, if the codec takes it out.
  """

  codes_TxK: np.ndarray
  mask_T: np.ndarray | None = None
  gain_S: np.ndarray | None = None


def by_frame(
  function: Callable[..., Any],
  spec: TokenSpec,
  audio_N: np.ndarray,
) -> np.ndarray:
  """`function(audio_BxN, length_B)` of one clip, at one of a few lengths.

  Returns:
    The valid frames of what it gives, (B, T, ...).
  """
  frames = spec.num_frames(len(audio_N))
  audio_1xN = stack_rows([audio_N], 1, bucket(frames) * spec.hop)
  return np.asarray(function(audio_1xN, pad_lengths([len(audio_N)], 1)))[0, :frames]


class CodecRunner:
  """A codec with its variables, on lists of clips.

  The result for a clip does not depend on the others: see `Codec.encode`. Memory is
  bounded by one batch, which is one clip where that is longer than a batch.
  """

  def __init__(self, codec: Codec, variables: Any):
    params = _fold(variables["params"])
    self._variables = {**jax.device_put(variables), "params": params}
    self._codec = codec
    self._encode = jax.jit(
      lambda variables, audio_BxNxC, length_B, K: codec.apply(
        variables, audio_BxNxC, length_B, num_codebooks=K, method="encode"
      ),
      static_argnums=3,
    )
    self._decode = jax.jit(lambda *args: codec.apply(*args, method="decode"))

  def encode_each(
    self,
    lengths: Sequence[int],
    load: Callable[[int], np.ndarray],
    num_codebooks: int | None = None,
  ) -> Iterator[tuple[int, Coded]]:
    """Encodes clips in an order of its own.

    Args:
      lengths: samples of each clip.
      load: clip i, (N, C) float32 audio in [-1, 1] at the codec's rate; called when its
        batch is next.
      num_codebooks: the first so many codebooks only.

    Yields:
      (index of a clip, what it was coded to).
    """
    hop = self._codec.spec.hop
    steps = [self._codec.spec.num_frames(length) for length in lengths]
    for padded, rows, members in bucketed(steps, self._rows):
      audio_BxNxC = stack_rows([load(i) for i in members], rows, padded * hop)
      length_B = pad_lengths([lengths[i] for i in members], rows)
      tokens = self._encode(self._variables, audio_BxNxC, length_B, num_codebooks)
      tokens = jax.device_get(tokens)
      for row, i in enumerate(members):
        yield i, self._coded(tokens, row, self._codec.num_frames(lengths[i]))

  def decode_each(
    self, frames: Sequence[int], load: Callable[[int], Coded]
  ) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes clips in an order of its own.

    Args:
      frames: of each clip.
      load: clip i; called when its batch is next.

    Yields:
      (index of a clip, the audio (N, C) float32 of its frames).
    """
    for padded, rows, members in bucketed(frames, self._rows):
      coded = [load(i) for i in members]
      tokens = self._tokens(coded, rows, padded)
      audio_BxNxC = np.asarray(self._decode(self._variables, tokens))
      for row, i in enumerate(members):
        yield i, audio_BxNxC[row, : self._codec.num_samples(frames[i])]

  def encode(
    self, clips: Sequence[np.ndarray], done: Callable[[int], None] | None = None
  ) -> list[np.ndarray]:
    """Codes (T, K) int32 of each mono clip (N,); `done` is called with 1 after each."""
    lengths = [len(clip) for clip in clips]
    each = self.encode_each(lengths, lambda i: clips[i][:, None])
    return [coded.codes_TxK for coded in in_order(each, len(clips), done)]

  def decode(
    self, codes: Sequence[np.ndarray], done: Callable[[int], None] | None = None
  ) -> list[np.ndarray]:
    """Mono audio (T * hop,) float32 of the codes (T, K) of each clip."""
    frames = [len(codes_TxK) for codes_TxK in codes]
    each = self.decode_each(frames, lambda i: Coded(codes[i]))
    return [audio_NxC[:, 0] for audio_NxC in in_order(each, len(codes), done)]

  def _coded(self, tokens: Tokens, row: int, frames: int) -> Coded:
    gain_S = None
    if tokens.gain_BxS is not None:
      gain_S = tokens.gain_BxS[row, : self._codec.num_segments(frames)]
    return Coded(
      tokens.codes_BxTxK[row, :frames], tokens.mask_BxT[row, :frames], gain_S
    )

  def _tokens(self, coded: Sequence[Coded], rows: int, padded: int) -> Tokens:
    codes_BxTxK = stack_rows([one.codes_TxK for one in coded], rows, padded)
    masks = [
      np.ones(len(one.codes_TxK), bool) if one.mask_T is None else one.mask_T
      for one in coded
    ]
    gain_BxS = None
    if coded[0].gain_S is not None:
      segments = self._codec.num_segments(padded)
      gain_BxS = stack_rows([one.gain_S for one in coded], rows, segments)
    return Tokens(codes_BxTxK, stack_rows(masks, rows, padded), gain_BxS)

  def _rows(self, padded_frames: int) -> int:
    return max(1, _BATCH_SAMPLES // (padded_frames * self._codec.spec.hop))
