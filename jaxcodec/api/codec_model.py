"""A codec with its weights, for people who do not want to know how it is made."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcodec import weights
from jaxcodec.api import checks
from jaxcodec.codecs.codec import Codec
from jaxcodec.data.audio.files import resample, resampled_length
from jaxcodec.inference.buckets import in_order
from jaxcodec.inference.codec import CodecRunner, Coded
from jaxcodec.types import Origin, Tokens


class CodecModel:
  """A codec that turns audio into tokens and back.

  Attributes:
    spec: the codec's `TokenSpec`.
    num_channels: C of the audio.
    fingerprint: sha256 of the weights; tokens remember it.
    runner: the compiled codec, for many clips.
  """

  def __init__(self, codec: Codec, variables: Any):
    self.spec, self.num_channels = codec.spec, codec.num_channels
    self.fingerprint = weights.fingerprint(variables)
    self.runner = CodecRunner(codec, variables)
    self._codec = codec

  @property
  def sample_rate(self) -> int:
    """Hz, of what is encoded and decoded."""
    return self.spec.sample_rate

  def encode(
    self,
    audio: Any,
    sample_rate: int | None = None,
    lengths: Sequence[int] | None = None,
    num_codebooks: int | None = None,
  ) -> Tokens:
    """Audio to tokens; each item's are those of the item alone.

    Args:
      audio: (N,), (B, N) or (B, N, C), numpy or jax; floats in [-1, 1] or int16.
      sample_rate: of the audio, Hz, the codec's if None; others are resampled.
      lengths: samples of each item, N if None; what lies beyond has no influence.
      num_codebooks: the first so many codebooks only.

    Returns:
      Tokens of B items with their origin, as numpy arrays.

    Raises:
      ValueError: audio or an argument that cannot be, before anything is computed.
    """
    rate = checks.sample_rate(sample_rate, self.sample_rate)
    K = checks.num_codebooks(num_codebooks, self.spec)
    originals = checks.clips(audio, lengths, self.num_channels)
    num_samples = [len(clip_NxC) for clip_NxC in originals]
    own_lengths = [self.own_length(length, rate) for length in num_samples]
    each = self.runner.encode_each(
      own_lengths, lambda i: resample(originals[i], rate, self.sample_rate), K
    )
    return self.tokens(in_order(each, len(originals)), num_samples, rate)

  def decode(self, tokens: Tokens, *, any_weights: bool = False) -> np.ndarray:
    """Tokens to audio (B, N, C) float32 at the codec's rate.

    Items have the length of their origin, at the codec's rate (see `num_samples`), and
    zeros beyond. Tokens without an origin give all samples of their frames.

    Args:
      tokens: of this codec.
      any_weights: decode tokens that were made with other weights too. Right where
        only the decoder differs: one trained anew, or another kind on these codebooks.

    Raises:
      ValueError: not tokens, or those of another codec, before anything is computed.
    """
    items, lengths = self.checked(tokens, any_weights)
    each = self.runner.decode_each([len(i.codes_TxK) for i in items], items.__getitem__)
    audio_BxNxC = np.zeros((len(items), max(lengths), self.num_channels), np.float32)
    for row, audio_NxC in each:
      audio_BxNxC[row, : lengths[row]] = audio_NxC[: lengths[row]]
    return audio_BxNxC

  def num_samples(self, tokens: Tokens) -> list[int]:
    """Samples of each item at the codec's rate.

    Raises:
      ValueError: the frames are not those that the origin's lengths give.
    """
    frames = tokens.num_frames()
    if tokens.origin is None:
      return [self._codec.num_samples(count) for count in frames]
    rate = tokens.origin.sample_rate
    lengths = [
      self.own_length(length, rate)
      for length in np.asarray(tokens.origin.num_samples_B).tolist()
    ]
    expected = [self._codec.num_frames(length) for length in lengths]
    if frames != expected:
      raise ValueError(
        f"the tokens have {frames} frames, but their origin's lengths give {expected};"
        " tokens.replace(origin=None) forgets them"
      )
    return lengths

  def checked(
    self, tokens: Tokens, any_weights: bool = False
  ) -> tuple[list[Coded], list[int]]:
    """The items of tokens that `decode` takes, and their `num_samples`."""
    checks.tokens(tokens, self._codec, None if any_weights else self.fingerprint)
    return _items(tokens, self._codec), self.num_samples(tokens)

  def own_length(self, num_samples: int, sample_rate: int) -> int:
    """Samples at the codec's rate; raises ValueError if there are none."""
    length = resampled_length(num_samples, sample_rate, self.sample_rate)
    if not length:
      raise ValueError(
        f"audio is too short: {num_samples} samples at {sample_rate} Hz are none at the"
        f" codec's {self.sample_rate} Hz"
      )
    return length

  def tokens(
    self, coded: Sequence[Coded], num_samples: Sequence[int], sample_rate: int
  ) -> Tokens:
    """One batch of clips, with their lengths at their own rate, Hz."""
    longest = max(len(one.codes_TxK) for one in coded)
    origin = Origin(np.array(num_samples), sample_rate, self.spec, self.fingerprint)
    return Tokens(
      np.stack([_padded(one.codes_TxK, longest) for one in coded]),
      np.stack([_padded(one.mask_T, longest) for one in coded]),
      _gains(coded),
      origin,
    )


def _padded(array: np.ndarray, length: int) -> np.ndarray:
  """With zeros at the end, (length, ...)."""
  missing = ((0, length - len(array)),) + ((0, 0),) * (array.ndim - 1)
  return np.pad(array, missing)


def _gains(coded: Sequence[Coded]) -> np.ndarray | None:
  """(B, S) of the gains, zero beyond an item's own segments."""
  if coded[0].gain_S is None:
    return None
  segments = max(len(one.gain_S) for one in coded)
  return np.stack([_padded(one.gain_S, segments) for one in coded])


def _items(tokens: Tokens, codec: Codec) -> list[Coded]:
  """Each item up to its last valid frame."""
  codes_BxTxK, mask_BxT, gain_BxS = (
    None if array is None else np.asarray(array)
    for array in (tokens.codes_BxTxK, tokens.mask_BxT, tokens.gain_BxS)
  )
  return [
    Coded(
      codes_BxTxK[row, :T].astype(np.int32),
      mask_BxT[row, :T],
      None if gain_BxS is None else gain_BxS[row, : codec.num_segments(T)],
    )
    for row, T in enumerate(tokens.num_frames())
  ]
