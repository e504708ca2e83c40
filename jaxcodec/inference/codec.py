"""Runs a codec on lists of clips of any length, with few compiled programs."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import fold_for_inference
from jaxcodec.inference.ahead import one_ahead
from jaxcodec.inference.buckets import (
  BATCH_SAMPLES,
  in_order,
  pad_lengths,
  stack_rows,
)
from jaxcodec.inference.coded import Coded
from jaxcodec.inference.placement import Placement
from jaxcodec.inference.segment_groups import decode_in_groups, encode_in_groups
from jaxcodec.inference.stream import Stream
from jaxcodec.inference.stream_pieces import decode_long, encode_long
from jaxcodec.types import Tokens

Read = Callable[[], list[Any]]

_LONG_SAMPLES = 2**23  # of a clip that is coded as a stream, in blocks of a batch
_GROUP = 2**20  # samples of segments that are coded together, of a clip as long


class CodecRunner:
  """Encodes and decodes lists of clips by a codec with its variables.

  The result for a clip does not depend on the others; see `Codec.encode`. Memory is
  bounded by two batches, as one is dispatched while another is read, or by clips that
  are longer than a batch. Clips of many minutes are coded as streams, if the codec has
  any, whose memory is that of a batch, or some segments at a time.

  Args:
    codec: the module.
    variables: its own.
    placement: the devices to use and how much to give them at once; the default device
      alone if None.
  """

  def __init__(self, codec: Codec, variables: Any, placement: Placement | None = None):
    self._placement = placement or Placement()
    params = fold_for_inference(codec, variables["params"])
    self._variables = self._placement.put({**variables, "params": params})
    self._codec = codec
    self._compile()

  def __getstate__(self) -> dict[str, Any]:
    """Pickles the codec and its variables; another process compiles them itself."""
    return {"codec": self._codec, "variables": jax.device_get(self._variables)}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self._codec = state["codec"]
    self._placement = Placement()
    self._variables = self._placement.put(state["variables"])
    self._compile()

  def _compile(self) -> None:
    codec = self._codec
    self._encode = jax.jit(
      lambda variables, audio_BxNxC, length_B, K: codec.apply(
        variables, audio_BxNxC, length_B, num_codebooks=K, method="encode"
      ),
      static_argnums=3,
    )
    self._decode = jax.jit(lambda *args: codec.apply(*args, method="decode"))
    self._streams = functools.cache(self._stream_or_none)

  def stream(self, batch: int = 1, num_codebooks: int | None = None) -> Stream:
    """Returns the codec for streams of so many items; see `Stream`."""
    return Stream(self._codec, self._variables, batch, num_codebooks)

  def encode_each(
    self,
    lengths: Sequence[int],
    load: Callable[[int], np.ndarray],
    num_codebooks: int | None = None,
  ) -> Iterator[tuple[int, Coded]]:
    """Encodes clips, those of similar length together, so the order changes.

    Args:
      lengths: samples of each clip.
      load: gives clip i, (N, C) float32 audio in [-1, 1] at the codec's rate; called
        when its batch is next.
      num_codebooks: use only the first so many.

    Yields:
      (index of a clip, its codes).
    """
    for members, read in one_ahead(self._encoded(lengths, load, num_codebooks)):
      yield from zip(members, read(), strict=True)

  def decode_each(
    self, frames: Sequence[int], load: Callable[[int], Coded]
  ) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes clips, those of similar length together, so the order changes.

    Args:
      frames: of each clip.
      load: gives the codes of clip i; called when its batch is next.

    Yields:
      (index of a clip, the audio (N, C) float32 of its frames).
    """
    for members, read in one_ahead(self._decoded(frames, load)):
      yield from zip(members, read(), strict=True)

  def encode(
    self, clips: Sequence[np.ndarray], done: Callable[[int], None] | None = None
  ) -> list[np.ndarray]:
    """Encodes mono clips (N,) to codes (T, K) int32; calls `done(1)` after each."""
    lengths = [len(clip) for clip in clips]
    each = self.encode_each(lengths, lambda i: clips[i][:, None])
    return [coded.codes_TxK for coded in in_order(each, len(clips), done)]

  def decode(
    self, codes: Sequence[np.ndarray], done: Callable[[int], None] | None = None
  ) -> list[np.ndarray]:
    """Decodes codes (T, K) to mono audio (T * hop,) float32; calls `done` likewise."""
    frames = [len(codes_TxK) for codes_TxK in codes]
    each = self.decode_each(frames, lambda i: Coded(codes[i]))
    return [audio_NxC[:, 0] for audio_NxC in in_order(each, len(codes), done)]

  def _encoded(self, lengths, load, num_codebooks) -> Iterator[tuple[list[int], Read]]:
    """Dispatches batches; yields their clips with what reads the clips' codes."""
    hop = self._codec.spec.hop
    steps = [self._codec.spec.num_frames(length) for length in lengths]
    for padded, rows, members in self._batches(steps):
      if (stream := self._for_long(padded, num_codebooks)) is not None:
        code = functools.partial(encode_long, stream, frames=self._long_block)
        yield members, lambda code=code, m=members: [Coded(code(load(i))) for i in m]
        continue
      if self._in_groups(padded):
        short = functools.partial(self._encode_one, num_codebooks)
        code = functools.partial(encode_in_groups, self._codec, short)
        yield members, lambda c=code, m=members: [c(load(i), _GROUP) for i in m]
        continue
      audio_BxNxC = stack_rows([load(i) for i in members], rows, padded * hop)
      length_B = pad_lengths([lengths[i] for i in members], rows)
      batch = self._placement.put((audio_BxNxC, length_B), split=True)
      with self._placement.share():
        tokens = self._encode(self._variables, *batch, num_codebooks)
      frames = [self._codec.num_frames(lengths[i]) for i in members]
      yield members, functools.partial(self._read_codes, tokens, frames)

  def _decoded(self, frames, load) -> Iterator[tuple[list[int], Read]]:
    """Dispatches batches; yields their clips with what reads the clips' audio."""
    for padded, rows, members in self._batches(frames):
      if (stream := self._for_long(padded, None)) is not None:
        code = functools.partial(decode_long, stream, frames=self._long_block)
        yield members, lambda code=code, m=members: [code(load(i).codes_TxK) for i in m]
        continue
      if self._in_groups(padded):
        code = functools.partial(decode_in_groups, self._codec, self._decode_one)
        yield members, lambda c=code, m=members: [c(load(i), _GROUP) for i in m]
        continue
      tokens = self._tokens([load(i) for i in members], rows, padded)
      tokens = self._placement.put(tokens, split=True)
      samples = [self._codec.num_samples(frames[i]) for i in members]
      with self._placement.share():
        audio_BxNxC = self._decode(self._variables, tokens)
      yield members, functools.partial(_read_audio, audio_BxNxC, samples)

  def _in_groups(self, frames: int) -> bool:
    """Tells whether a clip is so long that its segments are coded some at a time."""
    is_long = frames * self._codec.spec.hop > _LONG_SAMPLES
    return is_long and self._codec.segments is not None

  def _encode_one(self, num_codebooks: int | None, audio_NxC: np.ndarray) -> Coded:
    each = self.encode_each([len(audio_NxC)], lambda _: audio_NxC, num_codebooks)
    return next(coded for _, coded in each)

  def _decode_one(self, coded: Coded) -> np.ndarray:
    each = self.decode_each([len(coded.codes_TxK)], lambda _: coded)
    return next(audio_NxC for _, audio_NxC in each)

  def _batches(self, frames):
    return self._placement.group_by_length(frames, self._codec.spec.hop)

  def _stream_or_none(self, num_codebooks: int | None) -> Stream | None:
    try:
      return self.stream(1, num_codebooks)
    except ValueError:
      return None

  def _for_long(self, frames: int, num_codebooks: int | None) -> Stream | None:
    """Returns what codes a clip of so many frames by blocks, None if it is short."""
    if frames * self._codec.spec.hop <= _LONG_SAMPLES:
      return None
    return self._streams(num_codebooks)

  @property
  def _long_block(self) -> int:
    return BATCH_SAMPLES // self._codec.spec.hop

  def _read_codes(self, tokens: Tokens, frames: Sequence[int]) -> list[Coded]:
    tokens = jax.device_get(tokens)
    return [self._coded(tokens, row, count) for row, count in enumerate(frames)]

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


def _read_audio(audio_BxNxC: jax.Array, samples: Sequence[int]) -> list[np.ndarray]:
  read_BxNxC = np.asarray(audio_BxNxC)
  return [read_BxNxC[row, :count] for row, count in enumerate(samples)]
