"""Streams whose audio or codes come in pieces of any lengths, in blocks of one size."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxcodec.codecs.streaming import StreamState
from jaxcodec.inference.buckets import stack_rows
from jaxcodec.inference.stream import Stream
from jaxcodec.types import Tokens


def encode_pieces(
  stream: Stream, pieces: Iterable[np.ndarray], frames: int
) -> Iterator[np.ndarray]:
  """Encodes pieces of audio (n, C), in blocks of so many frames as they are there.

  Yields:
    The codes (T, K) that are now known; may have no frames.
  """
  state = stream.start()
  for block_NxC, size, last in cut(pieces, frames * stream.hop):
    tokens, state = stream.encode(state, *_audio(block_NxC, size, last), last=last)
    yield np.asarray(tokens.codes_BxTxK[0])[np.asarray(tokens.mask_BxT[0])]


def decode_pieces(
  stream: Stream, pieces: Iterable[np.ndarray], frames: int
) -> Iterator[np.ndarray]:
  """Decodes pieces of codes (T, K), in blocks of so many frames as they are there.

  The first block has as many more as the decoder looks ahead: few programs are
  compiled, and each block gives audio.

  Yields:
    The audio (N, C) that is now known, `hop` samples for each frame in all.
  """
  state, given, told = stream.start(), 0, 0
  for codes_TxK, size, last in cut(pieces, frames, _first(stream, frames)):
    given += len(codes_TxK)
    if not given:
      return
    audio_1xNxC, state = stream.decode(state, _tokens(codes_TxK, size), last=last)
    audio_NxC = np.asarray(audio_1xNxC[0])[: given * stream.hop - told]
    told += len(audio_NxC)
    yield audio_NxC


def encode_long(stream: Stream, audio_NxC: np.ndarray, frames: int) -> np.ndarray:
  """Encodes a clip in blocks of so many frames; returns its codes (T, K)."""
  return np.concatenate(list(encode_pieces(stream, [audio_NxC], frames)))


def decode_long(stream: Stream, codes_TxK: np.ndarray, frames: int) -> np.ndarray:
  """Decodes codes in blocks of so many frames; returns the audio (T * hop, C)."""
  return np.concatenate(list(decode_pieces(stream, [codes_TxK], frames)))


def prepare_encode(stream: Stream, frames: int) -> None:
  """Compiles what `encode_pieces` needs, on silence, so that no block waits for it."""
  silence_NxC = np.zeros((frames * stream.hop, stream.num_channels), np.float32)
  block = _audio(silence_NxC, len(silence_NxC), False)
  state = _steady(lambda state: stream.encode(state, *block)[1], stream.start())
  stream.encode(state, *_audio(silence_NxC, len(silence_NxC), True), last=True)


def prepare_decode(stream: Stream, frames: int) -> None:
  """Compiles what `decode_pieces` needs, on codes of 0."""
  sizes = _first(stream, frames), frames
  first, block = (
    _tokens(np.zeros((n, stream.num_codebooks), np.int32), n) for n in sizes
  )
  _, state = stream.decode(stream.start(), first)
  state = _steady(lambda state: stream.decode(state, block)[1], state)
  stream.decode(state, block, last=True)


def cut(
  pieces: Iterable[np.ndarray], size: int, first: int | None = None
) -> Iterator[tuple[np.ndarray, int, bool]]:
  """Cuts arrays that come in pieces (n, ...) into blocks, each as soon as it is there.

  Args:
    pieces: of any lengths, in turn.
    size: of the blocks.
    first: of the first block; `size` if None.

  Yields:
    A block, the size that it should have, and whether it is the last: what is left
    over, which may be shorter or empty. There is none without pieces.
  """
  rest, wanted = None, first or size
  for piece in pieces:
    rest = piece if rest is None else np.concatenate([rest, piece])
    while len(rest) >= wanted:
      yield rest[:wanted], wanted, False
      rest, wanted = rest[wanted:], size
  if rest is not None:
    yield rest, wanted, True


def _first(stream: Stream, frames: int) -> int:
  return frames + stream.decoder_lookahead // stream.hop


def _audio(block_NxC, size, last):
  """Returns what `Stream.encode` is given; lengths only for the last, padded block."""
  length = np.array([len(block_NxC)], np.int32) if last else None
  return stack_rows([block_NxC], 1, size), length


def _tokens(codes_TxK, size):
  block_1xLxK = stack_rows([codes_TxK], 1, size)
  return Tokens(block_1xLxK, np.arange(size)[None] < len(codes_TxK))


def _steady(step: Callable[[StreamState], StreamState], state: StreamState) -> Any:
  """Takes steps until the state's shapes are those before the step; returns it."""
  shapes = None
  while (found := jax.tree.map(np.shape, state)) != shapes:
    shapes, state = found, step(state)
  return state
