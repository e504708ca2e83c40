"""A codec with its weights, for people who do not want to know how it is made."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcodec import export
from jaxcodec.api import checks
from jaxcodec.codecs.codec import Codec
from jaxcodec.data.audio_io import resample, resampled_length
from jaxcodec.inference import CodecRunner, Coded, in_order
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
    self.fingerprint = export.fingerprint(variables)
    self.runner = CodecRunner(codec, variables)
    self._num_frames = codec.num_frames

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
    frames = np.asarray(tokens.mask_BxT).sum(-1).tolist()
    if tokens.origin is None:
      return [count * self.spec.hop for count in frames]
    rate = tokens.origin.sample_rate
    lengths = [
      self.own_length(length, rate)
      for length in np.asarray(tokens.origin.num_samples_B).tolist()
    ]
    expected = [self._num_frames(length) for length in lengths]
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
    checks.tokens(tokens, self.spec, None if any_weights else self.fingerprint)
    return _items(tokens), self.num_samples(tokens)

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
    frames = np.array([len(one.codes_TxK) for one in coded])
    mask_BxT = np.arange(frames.max()) < frames[:, None]
    codes_BxTxK = np.zeros((*mask_BxT.shape, coded[0].codes_TxK.shape[1]), np.int32)
    codes_BxTxK[mask_BxT] = np.concatenate([one.codes_TxK for one in coded])
    origin = Origin(np.array(num_samples), sample_rate, self.spec, self.fingerprint)
    return Tokens(codes_BxTxK, mask_BxT, _gains(coded), origin)


def _gains(coded: Sequence[Coded]) -> np.ndarray | None:
  """(B, S) of the gains, one beyond an item's own segments."""
  if coded[0].gain_S is None:
    return None
  segments = max(len(one.gain_S) for one in coded)
  gain_BxS = np.ones((len(coded), segments), np.float32)
  for row, one in zip(gain_BxS, coded, strict=True):
    row[: len(one.gain_S)] = one.gain_S
  return gain_BxS


def _items(tokens: Tokens) -> list[Coded]:
  """The valid frames of each item."""
  gain_BxS = tokens.gain_BxS
  return [
    Coded(
      np.asarray(tokens.codes_BxTxK[row])[np.asarray(mask_T)].astype(np.int32),
      None if gain_BxS is None else np.asarray(gain_BxS[row]),
    )
    for row, mask_T in enumerate(tokens.mask_BxT)
  ]
