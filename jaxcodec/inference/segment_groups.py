"""Long clips by a codec of segments, some segments at a time, in bounded memory."""

from collections.abc import Callable

import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.segments import Segments
from jaxcodec.inference.coded import Coded


def encode_in_groups(
  codec: Codec,
  encode: Callable[[np.ndarray], Coded],
  audio_NxC: np.ndarray,
  samples: int,
) -> Coded:
  """Encodes a clip, whose segments know nothing of each other.

  Args:
    codec: has segments.
    encode: encodes a short clip.
    audio_NxC: the long one.
    samples: that a short one has at most.
  """
  segments, size = _sizes(codec, samples)
  overlap, step = segments.length - segments.stride, size * segments.stride
  found = []
  for start in range(0, len(audio_NxC), step):
    # What two groups share begins a segment too many in all but the last.
    coded = encode(audio_NxC[start : start + step + overlap])
    is_last = start + step >= len(audio_NxC)
    found.append(coded if is_last else _part(codec, coded, 0, size))
  return _joined(found)


def decode_in_groups(
  codec: Codec, decode: Callable[[Coded], np.ndarray], coded: Coded, samples: int
) -> np.ndarray:
  """Decodes what `encode_in_groups` gave, (N, C).

  Each group begins with the last segment of the one before, which overlaps with it.
  """
  (segments, size), parts = _sizes(codec, samples), []
  count = codec.num_segments(len(coded.codes_TxK))
  for first in range(0, count, size):
    before = min(first, 1)
    audio_NxC = decode(_part(codec, coded, first - before, first + size))
    end = None if first + size >= count else (before + size) * segments.stride
    parts.append(audio_NxC[before * segments.stride : end])
  return np.concatenate(parts)


def _sizes(codec: Codec, samples: int) -> tuple[Segments, int]:
  """Returns the codec's segments, and how many a group has besides one more."""
  segments = codec.segments
  assert segments is not None
  return segments, max(1, (samples - segments.length) // segments.stride)


def _part(codec: Codec, coded: Coded, first: int, end: int) -> Coded:
  """Returns the segments from `first` to before `end`."""
  frames = -(-codec.segments.length // codec.encoder.hop)
  where = slice(first * frames, end * frames)
  return Coded(
    coded.codes_TxK[where],
    None if coded.mask_T is None else coded.mask_T[where],
    None if coded.gain_S is None else coded.gain_S[first:end],
  )


def _joined(parts: list[Coded]) -> Coded:
  fields = zip(*parts, strict=True)
  return Coded(*(None if f[0] is None else np.concatenate(f) for f in fields))
