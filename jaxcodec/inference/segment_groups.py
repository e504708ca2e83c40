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
  segments = _segments(codec)
  size = _group_size(codec, samples)
  overlap, step = segments.length - segments.stride, size * segments.stride
  found = []
  for start in range(0, len(audio_NxC), step):
    # What two groups share begins segments too many in all but the last.
    coded = encode(audio_NxC[start : start + step + overlap])
    is_last = start + step >= len(audio_NxC)
    found.append(coded if is_last else _part(codec, coded, 0, size))
  return _joined(found)


def decode_in_groups(
  codec: Codec, decode: Callable[[Coded], np.ndarray], coded: Coded, samples: int
) -> np.ndarray:
  """Decodes what `encode_in_groups` gave, (N, C).

  Each group begins with the last segments of the one before; see `_num_before`.
  """
  segments, size, parts = _segments(codec), _group_size(codec, samples), []
  count = codec.num_segments(len(coded.codes_TxK))
  for first in range(0, count, size):
    before = min(first, _num_before(segments))
    audio_NxC = decode(_part(codec, coded, first - before, first + size))
    end = None if first + size >= count else (before + size) * segments.stride
    parts.append(audio_NxC[before * segments.stride : end])
  return np.concatenate(parts)


def _segments(codec: Codec) -> Segments:
  assert codec.segments is not None
  return codec.segments


def _num_before(segments: Segments) -> int:
  """Returns how many segments a group is decoded behind.

  These reach into it, but for the first, which is there to be whole: `Segments.join`
  weighs all by the length of the first one, and those near the end may be short.
  """
  return -(-segments.length // segments.stride)


def _segment_frames(codec: Codec) -> int:
  return -(-_segments(codec).length // codec.encoder.hop)


def _group_size(codec: Codec, samples: int) -> int:
  """Returns how many segments a group has besides those that it is decoded behind.

  All together have at most `samples`, counted without overlaps, as codes are.
  """
  whole = samples // (_segment_frames(codec) * codec.encoder.hop)
  return max(1, whole - _num_before(_segments(codec)))


def _part(codec: Codec, coded: Coded, first: int, end: int) -> Coded:
  """Returns the segments from `first` to before `end`."""
  frames = _segment_frames(codec)
  where = slice(first * frames, end * frames)
  return Coded(
    coded.codes_TxK[where],
    None if coded.mask_T is None else coded.mask_T[where],
    None if coded.gain_S is None else coded.gain_S[first:end],
  )


def _joined(parts: list[Coded]) -> Coded:
  fields = zip(*parts, strict=True)
  return Coded(*(None if f[0] is None else np.concatenate(f) for f in fields))
