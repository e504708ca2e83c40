"""Codes coded frame by frame under a model that learns from the codes before them.

A code's neighbours in `contexts.Model` are that of its codebook in the frame before,
and that of codebook k - 1 in the same frame; for k = 0 that of the last codebook in the
frame before. The clips of a file follow each other, and what was learned from one
serves the next; at a clip's beginning there is no frame before.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np

from jaxcodec.coding import bits
from jaxcodec.coding.bits import Coder
from jaxcodec.coding.contexts import Model


def encode(clips: Sequence[np.ndarray], num_bits: int) -> bytes:
  """Codes clips in as few bits as the model gets by with.

  Args:
    clips: codes (T, K) of each, below 2 ** num_bits.
    num_bits: of a code.
  """
  out = bytearray()
  coder, finish = bits.writer(out)
  K = clips[0].shape[1]
  model = Model(K, num_bits, K * sum(map(len, clips)))
  for codes_TxK in clips:
    _code_frames(model, coder, [model.none] * K, codes_TxK.tolist())
  finish()
  return bytes(out)


def decode(
  data: bytes, frames: Sequence[int], num_codebooks: int, num_bits: int
) -> list[np.ndarray]:
  """Undoes `encode`: returns codes (T, K) of each clip, int32.

  Args:
    data: what `encode` returned.
    frames: T of each clip.
    num_codebooks: K.
    num_bits: of a code.

  Raises:
    ValueError: the data are shorter or longer than these clips.
  """
  coder, finish = bits.reader(data)
  model = Model(num_codebooks, num_bits, num_codebooks * sum(frames))
  before = [model.none] * num_codebooks
  clips = [_code_frames(model, coder, before, repeat(None, T)) for T in frames]
  finish()
  return [np.array(clip, np.int32) for clip in clips]


class Blocks:
  """Codes a clip in blocks, each of whole bytes, which another of these reads.

  The model goes on from block to block, so that a block costs no more than the last
  byte of its coder.

  Args:
    num_codebooks: K.
    num_bits: of a code.
  """

  def __init__(self, num_codebooks: int, num_bits: int):
    self._model = Model(num_codebooks, num_bits, None)
    self._before = [self._model.none] * num_codebooks

  def encode(self, codes_TxK: np.ndarray) -> bytes:
    """Codes the next block."""
    out = bytearray()
    coder, finish = bits.writer(out)
    self._code(coder, codes_TxK.tolist())
    finish()
    return bytes(out)

  def decode(self, data: bytes, T: int) -> np.ndarray:
    """Returns the next block's codes (T, K), int32; raises as `adaptive.decode`."""
    coder, finish = bits.reader(data)
    codes = self._code(coder, repeat(None, T))
    finish()
    return np.array(codes, np.int32)

  def _code(self, coder, frames):
    codes = _code_frames(self._model, coder, self._before, frames)
    self._before = codes[-1]
    return codes


def _code_frames(
  model: Model,
  coder: Coder,
  before: list[int],
  frames: Iterable[list[int] | None],
) -> list[list[int]]:
  """Writes frames, or reads those that are None, behind one; returns their codes."""
  found = []
  for codes in frames:
    frame, last = [], before[-1]
    for k, same in enumerate(before):
      last = model.code(coder, k, (same, last), None if codes is None else codes[k])
      frame.append(last)
    found.append(frame)
    before = frame
  return found
