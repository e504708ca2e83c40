"""A codec without a network as a yardstick: MDCT frames, quantised by k-means.

It has the bitrate of the codec that it is measured beside: as many codebooks of as many
codes, for frames of as many samples. A codec that trains should be ahead of it.
"""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from jaxcodec import weights
from jaxcodec.evals.metric import EvalClip
from jaxcodec.evals.results import to_json
from jaxcodec.types import TokenSpec

NAME = "mdct_kmeans"
_FRAMES = 60_000  # that it is fitted to, at most, if there are not more codes
ITERATIONS = 6  # of each k-means
_FLOOR = 1e-6  # of a band's mean square
_BLOCK = 1024  # frames whose products with all codes are held at once


class MdctKmeans(NamedTuple):
  """The fitted codec.

  Attributes:
    weight_H: factors of the H bands, as many as a frame has samples.
    books_KxVxH: codebooks of weighted coefficients, each of what those before leave.
  """

  weight_H: np.ndarray
  books_KxVxH: np.ndarray

  def code(self, audio_N: np.ndarray) -> np.ndarray:
    """Returns the codes of audio, (T, K), each the nearest at its level."""
    residual_TxH = mdct(audio_N, len(self.weight_H)) * self.weight_H
    codes = []
    for book_VxH in self.books_KxVxH:
      codes.append(_nearest(residual_TxH, book_VxH))
      residual_TxH = residual_TxH - book_VxH[codes[-1]]
    return np.stack(codes, 1)

  def decode(self, codes_TxK: np.ndarray, num_samples: int) -> np.ndarray:
    """Returns the audio (num_samples,) float32 of codes."""
    levels = np.arange(codes_TxK.shape[1])
    spectrum_TxH = self.books_KxVxH[levels, codes_TxK].sum(1) / self.weight_H
    return inverse_mdct(spectrum_TxH, num_samples)


def most_frames(spec: TokenSpec) -> int:
  """Returns how many frames it is fitted to, at most."""
  return max(_FRAMES, spec.codebook_size)


def fit(audio: Iterable[np.ndarray], spec: TokenSpec, seed: int) -> MdctKmeans:
  """Fits the codec to recordings; equal arguments give an equal codec.

  Bands are weighted by the inverse square root of their mean magnitude, so that the
  strongest don't take all the codes. An MDCT's signs are as often plus as minus, and
  half of a codebook is the negatives of the rest: each pair learns from the frames near
  either. A last code of an odd number is zero.

  Args:
    audio: recordings (N,) at the rate of `spec`, read until there are `most_frames`.
    spec: of the codec whose bitrate it gets.
    seed: draws where k-means starts.

  Raises:
    ValueError: there are fewer frames than codes.
  """
  frames, count = [], 0
  for audio_N in audio:
    frames.append(mdct(audio_N, spec.hop))
    count += len(frames[-1])
    if count >= most_frames(spec):
      break
  if count < spec.codebook_size:
    raise ValueError(f"{spec.codebook_size} codes need as many frames, got {count}")
  frames_TxH = np.concatenate(frames)[: most_frames(spec)]
  weight_H = (np.mean(frames_TxH**2, 0) + _FLOOR) ** -0.25
  residual_TxH, books = frames_TxH * weight_H, []
  rng = np.random.default_rng(seed)
  for _ in range(spec.num_codebooks):
    centroid_PxH = _pairs(residual_TxH, spec.codebook_size // 2, rng)
    pair_T, sign_T = _nearest_pair(residual_TxH, centroid_PxH)
    residual_TxH = residual_TxH - sign_T[:, None] * centroid_PxH[pair_T]
    zero = np.zeros((spec.codebook_size % 2, spec.hop), np.float32)
    books.append(np.concatenate([centroid_PxH, -centroid_PxH, zero]))
  return MdctKmeans(weight_H, np.stack(books))


def _pairs(x_TxH, count, rng):
  """Returns the vectors of k-means that stand with their negatives, (count, H)."""
  start = np.sort(rng.choice(len(x_TxH), count, replace=False))
  centroid_PxH = x_TxH[start]
  for _ in range(ITERATIONS):
    pair_T, sign_T = _nearest_pair(x_TxH, centroid_PxH)
    at = (sign_T, (pair_T, np.arange(len(x_TxH))))
    total_PxH = sparse.csr_array(at, (count, len(x_TxH))) @ x_TxH
    count_Px1 = np.bincount(pair_T, minlength=count)[:, None]
    mean_PxH = (total_PxH / np.maximum(count_Px1, 1)).astype(np.float32)
    centroid_PxH = np.where(count_Px1 > 0, mean_PxH, centroid_PxH)
  return centroid_PxH


def _nearest_pair(x_TxH, centroid_PxH):
  """Returns which of the vectors and their negatives are nearest: index and sign."""
  half_P, pair, sign = 0.5 * np.sum(centroid_PxH**2, 1), [], []
  for block_TxH in _blocks(x_TxH):
    product_TxP = block_TxH @ centroid_PxH.T
    pair.append((np.abs(product_TxP) - half_P).argmax(1))
    chosen_T = np.take_along_axis(product_TxP, pair[-1][:, None], 1)[:, 0]
    sign.append(np.where(chosen_T < 0, -1, 1).astype(np.float32))
  return np.concatenate(pair), np.concatenate(sign)


def _nearest(x_TxH, book_VxH):
  """Returns the index of the nearest vector to each frame, (T,)."""
  half_V = 0.5 * np.sum(book_VxH**2, 1)
  return np.concatenate(
    [(block @ book_VxH.T - half_V).argmax(1) for block in _blocks(x_TxH)]
  )


def _blocks(x_TxH):
  """Cuts frames into blocks whose products stay in a processor's cache."""
  return np.split(x_TxH, range(_BLOCK, len(x_TxH), _BLOCK))


def fit_once(
  folder: pathlib.Path,
  inputs: Mapping[str, Any],
  fit: Callable[[], MdctKmeans],
) -> MdctKmeans:
  """Returns what was fitted to these inputs before, or fits it now and keeps it.

  A file that is damaged is written anew, and a folder that can't be written to keeps
  nothing.

  Args:
    folder: of the kept file; made if it is not there.
    inputs: plain data, all that the codec depends on.
    fit: fits it.
  """
  settings = {"frames": _FRAMES, "iterations": ITERATIONS, **inputs}
  key = hashlib.sha256(to_json(settings).encode()).hexdigest()
  path = folder / f"{NAME}-{key[:16]}.safetensors"
  with contextlib.suppress(OSError, ValueError, KeyError):
    kept = weights.load_params(path)["params"]
    return MdctKmeans(kept["weight"], kept["books"])
  fitted = fit()
  content = {"params": {"weight": fitted.weight_H, "books": fitted.books_KxVxH}}
  with contextlib.suppress(OSError):
    folder.mkdir(parents=True, exist_ok=True)
    weights.save_params(path, content)
  return fitted


def coded_clips(clips: Sequence[EvalClip], codec: MdctKmeans) -> list[EvalClip]:
  """Returns the clips with their references, coded and decoded by it, as audio."""
  made = []
  for clip in clips:
    codes_TxK = codec.code(clip.reference)
    audio_N = codec.decode(codes_TxK, len(clip.reference))
    bits = round(codes_TxK.size * np.log2(codec.books_KxVxH.shape[1]))
    made.append(
      dataclasses.replace(clip, audio=audio_N, bits=bits, codes_TxK=None, wavs={})
    )
  return made


def mdct(audio_N: np.ndarray, hop: int) -> np.ndarray:
  """Returns the MDCT with a sine window, (ceil(N / hop) + 1, hop) float32.

  Frames are of 2 * hop samples, half of it before the audio in the first.
  """
  T = -(-len(audio_N) // hop) + 1
  padded = np.pad(audio_N.astype(np.float32), (hop, T * hop - len(audio_N)))
  halves_TxH = padded.reshape(-1, hop)
  return np.concatenate([halves_TxH[:-1], halves_TxH[1:]], 1) @ _basis(hop)


def inverse_mdct(spectrum_TxH: np.ndarray, num_samples: int) -> np.ndarray:
  """Undoes `mdct`, for audio of so many samples."""
  T, hop = spectrum_TxH.shape
  frames = spectrum_TxH @ _basis(hop).T
  audio = np.zeros((T + 1, hop), np.float32)
  audio[:-1] += frames[:, :hop]
  audio[1:] += frames[:, hop:]
  return audio.reshape(-1)[hop : hop + num_samples]


@functools.lru_cache(maxsize=4)
def _basis(hop):
  """Returns the windowed cosines of type IV, (2 * hop, hop), orthonormal by overlap."""
  n, k = np.arange(2 * hop)[:, None] + 0.5, np.arange(hop)[None] + 0.5
  window = np.sin(np.pi * n / (2 * hop))
  cosines = np.cos(np.pi / hop * (n + hop / 2) * k)
  return (np.sqrt(2 / hop) * window * cosines).astype(np.float32)
