"""Checks of users' arguments, before anything is computed."""

import os
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.data.audio.decoding import MAX_RATE, MIN_RATE
from jaxcodec.types import Tokens, TokenSpec

AVERAGE, KEEP = "average", "keep"
_INT16 = 1 << 15
_FULL_SCALE = 16.0  # what overshoots 1 by more holds integers
# Sound has no more channels than this, and nobody's clips are as short.
_MOST_CHANNELS = 16


def clips(
  audio: Any,
  lengths: Sequence[int] | None,
  num_channels: int,
  channels: str | None = None,
) -> list[np.ndarray]:
  """Returns the valid samples of each item, (N, C) float32.

  Args:
    audio: (N,), (B, N) or (B, N, C); floats in [-1, 1], or int16.
    lengths: valid samples of each item; samples beyond are not looked at.
    num_channels: C of the codec.
    channels: what becomes of others: they are `AVERAGE`d, or `KEEP` makes each an item
      of its own; None makes them an error.

  Raises:
    ValueError: wrong rank, channels, type or lengths; empty audio, NaN or infinity.
  """
  if audio is None or isinstance(audio, (str, bytes, os.PathLike)):
    raise ValueError(
      f"audio must be an array, got {audio!r}; soundfile.read gives a file's samples"
      " and their rate"
    )
  audio = np.asarray(audio)
  if not 1 <= audio.ndim <= 3:
    raise ValueError(
      f"audio must have shape (N,), (B, N) or (B, N, C), got {audio.shape}"
    )
  if not audio.size:
    raise ValueError(f"audio must not be empty, got shape {audio.shape}")
  _refuse_other_orders(audio.shape)
  if audio.ndim < 3:
    audio = audio.reshape(-1, audio.shape[-1], 1)
  if channels not in (None, AVERAGE, KEEP):
    raise ValueError(f"channels must be {AVERAGE!r} or {KEEP!r}, got {channels!r}")
  if channels and num_channels == 1:
    whole = clips(audio, lengths, audio.shape[2])
    return [part for clip_NxC in whole for part in _mono(clip_NxC, channels)]
  if audio.shape[2] != num_channels:
    raise ValueError(
      f"this codec is for {num_channels} channels: expected audio of shape"
      f" (B, N, {num_channels}), channels last, got {audio.shape}"
    )
  if audio.dtype != np.int16 and not jnp.issubdtype(audio.dtype, jnp.floating):
    raise ValueError(f"audio must be floats in [-1, 1] or int16, got {audio.dtype}")
  items = [
    _to_float32(item[:length])
    for item, length in zip(audio, _lengths(lengths, audio.shape), strict=True)
  ]
  for index, item in enumerate(items):
    if not np.isfinite(item).all():
      raise ValueError(f"audio must be finite, got NaN or infinity in item {index}")
  return items


def full_scale(clips: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
  """Returns clips (N, C); raises ValueError if their samples are far beyond [-1, 1]."""
  for index, clip_NxC in enumerate(clips):
    if (peak := np.abs(clip_NxC).max()) > _FULL_SCALE:
      raise ValueError(
        f"audio must be floats in [-1, 1], or int16; item {index} reaches {peak:.4g}:"
        " divide floats that hold 16-bit integers by 32768"
      )
  return clips


def _mono(clip_NxC: np.ndarray, channels: str) -> list[np.ndarray]:
  """Returns the channels' average, or each of them, (N, 1)."""
  if channels == AVERAGE:
    return [clip_NxC.mean(axis=1, keepdims=True)]
  return np.split(clip_NxC, clip_NxC.shape[1], axis=1)


def _refuse_other_orders(shape: tuple[int, ...]) -> None:
  """Raises ValueError for (N, C), as soundfile reads, and (B, C, N), as PyTorch has it.

  They aren't N clips of C samples, or clips of N channels.
  """
  if len(shape) == 3 and shape[1] <= _MOST_CHANNELS < shape[2]:
    raise ValueError(
      f"audio of shape {shape} looks like (B, C, N), clips of {shape[1]} channels:"
      " expected (N,), (B, N) or (B, N, C), channels last"
    )
  if len(shape) == 2 and shape[1] <= _MOST_CHANNELS < shape[0]:
    raise ValueError(
      f"audio of shape {shape} looks like (N, C), a clip of {shape[1]} channels:"
      " expected (N,), (B, N) or (B, N, C); audio.mean(axis=1) averages the channels,"
      " audio[None] is a batch of one clip"
    )


def sample_rate(rate: Any, default: int) -> int:
  """Returns a rate in Hz; raises ValueError if it is none that sound has."""
  return default if rate is None else _integer(rate, "sample_rate", MIN_RATE, MAX_RATE)


def num_codebooks(wanted: Any, spec: TokenSpec) -> int:
  """Returns how many codebooks to use; raises ValueError if the codec has fewer."""
  if wanted is None:
    return spec.num_codebooks
  return _integer(wanted, "num_codebooks", 1, spec.num_codebooks)


def seed(value: Any) -> int:
  """Returns a seed; raises ValueError if it is not an integer of 32 bits."""
  return _integer(value, "seed", 0, 2**32 - 1)


def tokens(tokens: Any, codec: Codec, fingerprint: str | None) -> None:
  """Checks that a codec can decode the tokens.

  Args:
    tokens: what the user gave.
    codec: the decoder's codec.
    fingerprint: of its weights; None accepts tokens made with any weights.

  Raises:
    ValueError: not `Tokens`, wrong shapes or types, codes out of range, or another
      codec's tokens.
  """
  spec = codec.spec
  if not isinstance(tokens, Tokens):
    raise ValueError(f"expected jaxcodec.Tokens, got {type(tokens).__name__}")
  if tokens.origin is not None:
    origin(tokens.origin.spec, tokens.origin.fingerprint, spec, fingerprint)
  codes, mask = np.asarray(tokens.codes_BxTxK), np.asarray(tokens.mask_BxT)
  if codes.ndim != 3 or not np.issubdtype(codes.dtype, np.integer) or not codes.size:
    raise ValueError(
      f"codes must be integers (B, T, K), got {codes.dtype} {codes.shape}"
    )
  if codes.shape[2] > spec.num_codebooks:
    raise ValueError(
      f"this codec has {spec.num_codebooks} codebooks, the tokens {codes.shape[2]}"
    )
  if mask.dtype != bool or mask.shape != codes.shape[:2]:
    raise ValueError(
      f"the mask must be bool {codes.shape[:2]}, got {mask.dtype} {mask.shape}"
    )
  gaps = codec.segments is None and (mask[:, 1:] & ~mask[:, :-1]).any()
  if gaps or not mask[:, 0].all():
    raise ValueError("each item's valid frames must come first, at least one of them")
  _gains(tokens.gain_BxS, codec, mask.shape)
  valid = codes[mask]
  if valid.min() < 0 or valid.max() >= spec.codebook_size:
    raise ValueError(
      f"codes must be 0 to {spec.codebook_size - 1}, got {valid.min()} to {valid.max()}"
    )


def origin(
  spec: TokenSpec, fingerprint: str, own: TokenSpec, own_fingerprint: str | None
) -> None:
  """Raises ValueError unless the tokens' spec and fingerprint are the codec's own.

  Args:
    spec, fingerprint: the tokens'.
    own, own_fingerprint: the codec's; a fingerprint of None accepts any weights.
  """
  if spec != own:
    raise ValueError(f"the tokens are of another codec: expected {own}, got {spec}")
  if own_fingerprint is not None and own_fingerprint != fingerprint:
    raise ValueError(
      "the tokens were made with other weights: expected the fingerprint"
      f" {own_fingerprint[:12]}, got {fingerprint[:12]}; any_weights=True"
      " (--any-weights) decodes them all the same, which is right if only the decoder"
      " differs"
    )


def _gains(gain_BxS: Any, codec: Codec, shape: tuple[int, ...]) -> None:
  """Raises ValueError unless gains are present exactly if the codec normalises."""
  expected = (shape[0], codec.num_segments(shape[1])) if codec.normalize else None
  if (None if gain_BxS is None else gain_BxS.shape) != expected:
    found = "none" if gain_BxS is None else f"gains {gain_BxS.shape}"
    raise ValueError(f"expected {expected or 'no'} gains with the tokens, got {found}")


def _to_float32(item: np.ndarray) -> np.ndarray:
  if item.dtype == np.int16:
    return item.astype(np.float32) / _INT16
  return item.astype(np.float32)


def _lengths(lengths: Sequence[int] | None, shape: tuple[int, ...]) -> list[int]:
  if lengths is None:
    return [shape[1]] * shape[0]
  array = np.asarray(lengths)
  if array.shape != shape[:1] or not np.issubdtype(array.dtype, np.integer):
    raise ValueError(
      f"lengths must be {shape[0]} integers, one for each item, got {lengths}"
    )
  if array.min() < 1 or array.max() > shape[1]:
    raise ValueError(
      f"lengths must be 1 to {shape[1]}, the samples of the array, got {lengths}"
    )
  return array.tolist()


def _integer(value: Any, name: str, least: int, most: int | None = None) -> int:
  whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if whole and least <= value and (most is None or value <= most):
    return int(value)
  limits = f"{least} to {most}" if whole else f"an integer, {least} to {most}"
  wanted = "a positive integer" if most is None else limits
  raise ValueError(f"{name} must be {wanted}, got {value!r}")
