"""Runs a codec on audio and tokens as they come."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.codecs import streaming
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.streaming import StreamState
from jaxcodec.types import Tokens

_INT16 = 1 << 15


class Stream:
  """Encodes and decodes the blocks of a stream, with the codes of the whole.

  Both are pure functions of a state, which is a pytree, and are compiled once for a
  size of blocks, after a few programs for the beginning. The codes equal those of the
  whole but for rounding, which turns a code where two are as near.

    stream = codec.stream()
    state = stream.start()
    for block in blocks:
      tokens, state = stream.encode(state, block)
      audio, state = stream.decode(state, tokens)

  Attributes:
    batch: items B, which run side by side.
    num_codebooks: of the tokens.
    hop: samples a frame.
    lookahead: samples that encoder and decoder together look ahead; 0 if they are
      causal.
    decoder_lookahead: the decoder's part of them.
    latency: samples from one that is heard to where it is decoded, by blocks of a
      frame: a frame and the lookahead.
    lead: samples without which nothing is encoded, and then decoded, at the beginning,
      more than `latency` where the padding mirrors a clip's first frames.
  """

  def __init__(
    self, codec: Codec, variables: Any, batch: int = 1, num_codebooks: int | None = None
  ):
    bound = codec.bind(variables)
    streaming.check(bound)
    self.batch, self.hop = batch, codec.spec.hop
    self.num_codebooks = num_codebooks or codec.spec.num_codebooks
    self.num_channels = codec.num_channels
    self.lookahead = sum(streaming.delays(bound))
    self.decoder_lookahead = streaming.delays(bound)[1]
    self.latency = self.hop + self.lookahead
    self.lead = _lead(*streaming.leads(bound), streaming.delays(bound)[0], self.hop)
    self._codec, self._variables = codec, variables
    self._begin = streaming.start(bound, batch)
    self._compile()

  def _compile(self) -> None:
    codec, K = self._codec, self.num_codebooks

    @functools.partial(jax.jit, static_argnames="last")
    def encode(variables, state, block, length_B, last):
      options = dict(num_codebooks=K, last=last, method=streaming.encode)
      return codec.apply(variables, state, block, length_B, **options)

    @functools.partial(jax.jit, static_argnames="last")
    def decode(variables, state, tokens, last):
      return codec.apply(variables, state, tokens, last=last, method=streaming.decode)

    self._encode, self._decode = encode, decode

  def start(self) -> StreamState:
    """Returns the state before the first block."""
    return self._begin

  def encode(
    self, state: StreamState, block: Any, lengths: Any = None, *, last: bool = False
  ) -> tuple[Tokens, StreamState]:
    """Encodes the next block of each item.

    Args:
      state: of `start`, or what the call before gave.
      block: audio (B, N, C), (B, N) or, for a batch of one, (N,): float in [-1, 1] at
        the codec's rate, or int16. N is a multiple of the hop, but any number in the
        last block.
      lengths: valid samples of each item (B,); all if None. An item that ends here has
        none in later blocks.
      last: whether the stream ends with this block; N may be 0.

    Returns:
      The tokens of the frames that are now known, (B, 0, K) if none are, and the state.

    Raises:
      ValueError: another shape or type.
    """
    shape = tuple(block.shape)
    if len(shape) == 1:
      block = block[None]
    if block.ndim == 2:
      block = block[..., None]
    if block.ndim != 3 or block.shape[::2] != (self.batch, self.num_channels):
      raise ValueError(
        f"a block must have shape ({self.batch}, N, {self.num_channels}), got {shape}"
      )
    block = _as_floats(block)
    if block.shape[1] % self.hop and not last:
      raise ValueError(
        f"a block must have a multiple of the hop of {self.hop} samples, unless it is"
        f" the last one (last=True), got {block.shape[1]}"
      )
    if lengths is not None:
      lengths = self._check_lengths(lengths, block.shape[1])
    return self._encode(self._variables, state, block, lengths, last=last)

  def _check_lengths(self, lengths: Any, samples: int) -> np.ndarray:
    """Returns the lengths of a block's items, (B,); raises ValueError."""
    given = np.asarray(lengths)
    whole = given.shape == (self.batch,) and np.issubdtype(given.dtype, np.integer)
    if not whole or ((given < 0) | (given > samples)).any():
      raise ValueError(
        f"lengths must be {self.batch} integers of 0 to {samples} samples, got"
        f" {lengths}"
      )
    return given.astype(np.int32)

  def decode(
    self, state: StreamState, tokens: Tokens, *, last: bool = False
  ) -> tuple[jax.Array, StreamState]:
    """Decodes the next tokens, of any number of frames.

    Args:
      state: of `start`, or what the call before gave.
      tokens: of this codec; may have no frames.
      last: whether the stream ends with them.

    Returns:
      The audio (B, N, C) that is now known, (B, 0, C) if none is, and the state.

    Raises:
      ValueError: another batch.
    """
    shape = tuple(tokens.codes_BxTxK.shape)
    if len(shape) != 3 or shape[0] != self.batch:
      raise ValueError(f"codes must be ({self.batch}, T, K), got {shape}")
    return self._decode(self._variables, state, tokens, last=last)

  def join(self, state: StreamState, row: int, other: StreamState) -> StreamState:
    """Puts a stream of one item into a row of a batch, where another has ended.

    Args:
      state: of this stream.
      row: of the batch.
      other: of a stream of one item of the same codec, which has gone as far: both
        have coded their first frames, or neither.

    Raises:
      ValueError: one is further than the other, or the codec looks ahead, so that its
        rows share their place.
    """
    if self.lookahead:
      raise ValueError("rows of a codec that looks ahead begin together")
    if jax.tree.structure(state) != jax.tree.structure(other):
      raise ValueError("both streams must have coded their first frames, or neither")

    def put(rows, one):
      return rows.at[row].set(one[0]) if rows.ndim else rows

    return jax.tree.map(put, state, other)


def _as_floats(block: Any) -> Any:
  if block.dtype == np.int16:
    return block.astype(np.float32) / _INT16
  if not jnp.issubdtype(block.dtype, jnp.floating):
    raise ValueError(f"a block must be floats in [-1, 1] or int16, got {block.dtype}")
  return block


def _lead(samples: int, frames: int, ahead: int, hop: int) -> int:
  """Returns the samples from which the first audio is decoded."""
  return max(-(-samples // hop) * hop, frames * hop + ahead)
