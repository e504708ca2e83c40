"""A codec with its weights, for arrays of any rate and length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcodec import weights
from jaxcodec.api import checks
from jaxcodec.codecs.codec import Codec
from jaxcodec.data.audio.files import resample, resampled_length
from jaxcodec.inference.buckets import in_order
from jaxcodec.inference.codec import CodecRunner, Coded
from jaxcodec.inference.stream import Stream
from jaxcodec.types import Origin, Tokens


class CodecModel:
  """A codec that turns audio into tokens and back.

  Attributes:
    spec: the codec's `TokenSpec`.
    num_channels: C of the audio.
    fingerprint: sha256 of the encoder's and the quantiser's weights, which make the
      tokens; kept in their origin.
    whole_fingerprint: that of all weights, the decoder's among them.
    runner: the compiled codec, for many clips.
  """

  def __init__(self, codec: Codec, variables: Any):
    self.spec, self.num_channels = codec.spec, codec.num_channels
    self.fingerprint = weights.token_fingerprint(variables)
    self.whole_fingerprint = weights.fingerprint(variables)
    self.runner = CodecRunner(codec, variables)
    self._codec = codec

  @property
  def sample_rate(self) -> int:
    """Rate of the audio that is coded and decoded, Hz."""
    return self.spec.sample_rate

  def encode(
    self,
    audio: Any,
    sample_rate: int | None = None,
    lengths: Sequence[int] | None = None,
    num_codebooks: int | None = None,
    channels: str | None = None,
  ) -> Tokens:
    """Encodes each item of a batch as if it were alone.

    Args:
      audio: (N,), (B, N) or (B, N, C), numpy or jax; floats in [-1, 1] or int16.
      sample_rate: of the audio, Hz; the codec's if None. Other rates are resampled.
      lengths: samples of each item, N if None; samples beyond have no influence.
      num_codebooks: how many codebooks to use, from the coarsest; all if None.
      channels: what a codec of one channel does with several: `average` them, or
        `keep` each as an item of its own, which `decode` joins again. None makes
        them an error.

    Returns:
      Tokens of B items, or B * C where channels are kept, with their origin, as numpy
      arrays.

    Raises:
      ValueError: naming the argument that is wrong, before anything is computed.
    """
    rate = checks.sample_rate(sample_rate, self.sample_rate)
    K = checks.num_codebooks(num_codebooks, self.spec)
    originals = checks.full_scale(
      checks.clips(audio, lengths, self.num_channels, channels)
    )
    num_samples = [len(clip_NxC) for clip_NxC in originals]
    own_lengths = [self.length_at_own_rate(length, rate) for length in num_samples]
    each = self.runner.encode_each(
      own_lengths, lambda i: resample(originals[i], rate, self.sample_rate), K
    )
    coded = in_order(each, len(originals))
    shape, apart = np.shape(audio), channels == checks.KEEP and self.num_channels == 1
    num_apart = shape[2] if apart and len(shape) == 3 else 1
    return self.make_tokens(coded, num_samples, rate, num_apart)

  def decode(self, tokens: Tokens, *, any_weights: bool = False) -> np.ndarray:
    """Decodes tokens to audio (B, N, C) float32 at the codec's rate.

    Where the items were channels coded apart, B is the number of recordings.

    Each item has the length of its origin at the codec's rate (see `num_samples`),
    with zeros beyond; tokens without an origin give all samples of their frames.

    Args:
      tokens: of this codec.
      any_weights: also decode tokens that were made with other weights. This is right
        where only the decoder differs, e.g. one trained later on these codebooks.

    Raises:
      ValueError: not tokens, or another codec's, before anything is computed.
    """
    items, lengths = self.check_tokens(tokens, any_weights)
    each = self.runner.decode_each([len(i.codes_TxK) for i in items], items.__getitem__)
    audio_BxNxC = np.zeros((len(items), max(lengths), self.num_channels), np.float32)
    for row, audio_NxC in each:
      audio_BxNxC[row, : lengths[row]] = audio_NxC[: lengths[row]]
    return _join_channels(audio_BxNxC, tokens)

  def stream(self, batch: int = 1, num_codebooks: int | None = None) -> Stream:
    """Returns what codes audio as it comes, block by block.

    Args:
      batch: streams that run side by side.
      num_codebooks: how many codebooks to use, from the coarsest; all if None.

    Raises:
      ValueError: an argument, or a codec that sees whole clips at once, such as one of
        segments of their own level.
    """
    if not isinstance(batch, int) or batch < 1:
      raise ValueError(f"batch must be a positive integer, got {batch!r}")
    return self.runner.stream(batch, checks.num_codebooks(num_codebooks, self.spec))

  def num_samples(self, tokens: Tokens) -> list[int]:
    """Returns how many samples each item has at the codec's rate.

    Raises:
      ValueError: the tokens' frames contradict the lengths in their origin.
    """
    frames = tokens.num_frames()
    if tokens.origin is None:
      return [self._codec.num_samples(count) for count in frames]
    rate = tokens.origin.sample_rate
    lengths = [
      self.length_at_own_rate(length, rate)
      for length in np.asarray(tokens.origin.num_samples_B).tolist()
    ]
    expected = [self._codec.num_frames(length) for length in lengths]
    if frames != expected:
      raise ValueError(
        f"the tokens have {frames} frames, but their origin's lengths give {expected};"
        " tokens.replace(origin=None) forgets them"
      )
    return lengths

  def check_tokens(
    self, tokens: Tokens, any_weights: bool = False
  ) -> tuple[list[Coded], list[int]]:
    """Returns the tokens' items and their `num_samples`; raises as `decode` does."""
    expected, origin = self.fingerprint, getattr(tokens, "origin", None)
    if origin is not None and origin.fingerprint == self.whole_fingerprint:
      expected = self.whole_fingerprint  # in tokens of earlier versions
    checks.tokens(tokens, self._codec, None if any_weights else expected)
    return _items(tokens, self._codec), self.num_samples(tokens)

  def length_at_own_rate(self, num_samples: int, sample_rate: int) -> int:
    """Returns the samples after resampling; raises ValueError if there are none."""
    length = resampled_length(num_samples, sample_rate, self.sample_rate)
    if not length:
      raise ValueError(
        f"audio is too short: {num_samples} samples at {sample_rate} Hz are none at the"
        f" codec's {self.sample_rate} Hz"
      )
    return length

  def make_tokens(
    self,
    coded: Sequence[Coded],
    num_samples: Sequence[int],
    sample_rate: int,
    num_channels: int = 1,
  ) -> Tokens:
    """Pads coded clips to one batch.

    Args:
      coded: one clip each.
      num_samples: of each clip, at `sample_rate`.
      sample_rate: of the clips before resampling, Hz.
      num_channels: how many clips in succession are the channels of one recording.
    """
    longest = max(len(one.codes_TxK) for one in coded)
    origin = Origin(
      np.array(num_samples), sample_rate, self.spec, self.fingerprint, num_channels
    )
    return Tokens(
      np.stack([_pad_end(one.codes_TxK, longest) for one in coded]),
      np.stack([_pad_end(_mask(one), longest) for one in coded]),
      _stack_gains(coded),
      origin,
    )


def _join_channels(audio_BxNxC: np.ndarray, tokens: Tokens) -> np.ndarray:
  """Makes one recording of the items that are its channels."""
  channels = 1 if tokens.origin is None else tokens.origin.num_channels
  if channels == 1 or len(audio_BxNxC) % channels:
    return audio_BxNxC
  parts_BxCxN = audio_BxNxC[..., 0].reshape(-1, channels, audio_BxNxC.shape[1])
  return np.ascontiguousarray(parts_BxCxN.swapaxes(1, 2))


def _mask(one: Coded) -> np.ndarray:
  return np.ones(len(one.codes_TxK), bool) if one.mask_T is None else one.mask_T


def _pad_end(array: np.ndarray, length: int) -> np.ndarray:
  """Adds zeros at the end up to (length, ...)."""
  missing = ((0, length - len(array)),) + ((0, 0),) * (array.ndim - 1)
  return np.pad(array, missing)


def _stack_gains(coded: Sequence[Coded]) -> np.ndarray | None:
  """Returns the gains (B, S), zero beyond an item's own segments."""
  gains = [one.gain_S for one in coded if one.gain_S is not None]
  if not gains:
    return None
  segments = max(map(len, gains))
  return np.stack([_pad_end(gain_S, segments) for gain_S in gains])


def _items(tokens: Tokens, codec: Codec) -> list[Coded]:
  """Cuts each item after its last valid frame."""
  codes_BxTxK, mask_BxT = np.asarray(tokens.codes_BxTxK), np.asarray(tokens.mask_BxT)
  gain_BxS = None if tokens.gain_BxS is None else np.asarray(tokens.gain_BxS)
  return [
    Coded(
      codes_BxTxK[row, :T].astype(np.int32),
      mask_BxT[row, :T],
      None if gain_BxS is None else gain_BxS[row, : codec.num_segments(T)],
    )
    for row, T in enumerate(tokens.num_frames())
  ]
