"""Codes coded under a language model's scores, mixed with what codes before them teach.

A language model computes floats, of which no two machines promise the same. So each of
its logits of a decision is rounded to a grid of steps that are far wider than such
differences, and the writer, who sees all numbers that will be rounded, moves the grid
to where none of them is near an edge between two steps: a reader whose numbers differ
by less than that distance rounds every one as the writer did. All else is integers.
Each stretch of a clip ends with a checksum of its codes, so that other codes than the
writer's are an error.

`docs/token_file.md` defines it to the bit.
"""

import os
import zlib
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from jaxcodec.coding import bits
from jaxcodec.coding.bits import Coder
from jaxcodec.coding.contexts import Model
from jaxcodec.coding.logistic import LIMIT

STEP = 256  # of the grid: a unit of the logit
OFFSET_BITS, GROUP = 12, 256  # a grid's place, and for how many codes it holds
# The contexts' first weights, and that of the language model's logits, in 65536ths.
FIRST_WEIGHTS = (13_107, 9_830, 9_830, 6_553, 26_214)
_CHECK_BITS, _EVEN = 32, 1 << 15
_BEFORE = 2  # frames before the first, in which no code is


class Scored(NamedTuple):
  """Codes that a language model has scored, given all those scored before.

  Attributes:
    cells: frame, from 0, and codebook of each of N codes.
    scores_NxV: logits of their values.
  """

  cells: Sequence[tuple[int, int]]
  scores_NxV: np.ndarray


class Scores(Protocol):
  """A language model of a codec's codes, of which it scores a stretch at a time.

  Attributes:
    frames: how many a stretch has at most.
    past: how many before it the model is shown at most.
    scheme: of the kind of model: what it is asked, and in which order.
    fingerprint: of the model's weights.
    codec_fingerprint: of the codec's.
    about: what else a file says of it, strings.
  """

  frames: int
  past: int
  scheme: str
  fingerprint: str
  codec_fingerprint: str
  about: dict[str, str]

  def reveal(
    self, past_PxK: np.ndarray, T: int
  ) -> Generator[Scored, Sequence[int], None]:
    """Scores each code of T frames behind others once; is sent the codes of each."""


# Scores, or what `api.load_code_scores` takes; None is what a file names.
ScoresOrName = str | os.PathLike | Scores | None


def encode(clips: Sequence[np.ndarray], num_bits: int, scores: Scores) -> bytes:
  """Codes clips in as few bits as the models get by with; see `adaptive.encode`."""
  out = bytearray()
  coder, finish = bits.writer(out)
  K = clips[0].shape[1]
  model = _model(K, num_bits, K * sum(map(len, clips)))
  for codes_TxK in clips:
    clip = _Clip(coder, model, *codes_TxK.shape)
    for start, past_PxK, T in _stretches(scores, codes_TxK, len(codes_TxK)):
      part_TxK, found = codes_TxK[start : start + T], _Path(num_bits)
      _each(scores.reveal(past_PxK, T), lambda s, own=part_TxK, f=found: f.add(s, own))
      for group in found.groups():
        offset = clip.number(best_offset(group.logits_NxD), OFFSET_BITS)
        for row, logits_D in enumerate(rounded(group.logits_NxD, offset).tolist()):
          given = dict(zip(group.nodes_NxD[row].tolist(), logits_D, strict=True))
          t, k = group.cells[row]
          clip.code(start + t, k, int(part_TxK[t, k]), given)
      clip.number(_checksum(part_TxK), _CHECK_BITS)
  finish()
  return bytes(out)


def decode(
  data: bytes,
  frames: Sequence[int],
  num_codebooks: int,
  num_bits: int,
  scores: Scores,
) -> list[np.ndarray]:
  """Undoes `encode`; see `adaptive.decode`.

  Raises:
    ValueError: other data than these clips', or a model whose numbers differ from the
      writer's by more than the grid forgives.
  """
  stretches = sum(-(-length // scores.frames) for length in frames)
  if stretches * (_CHECK_BITS + OFFSET_BITS) > 8 * (len(data) + 4):
    raise ValueError("the codes end early")  # before memory is taken for them
  coder, finish = bits.reader(data)
  model = _model(num_codebooks, num_bits, num_codebooks * sum(frames))
  clips = []
  for length in frames:
    clip = _Clip(coder, model, length, num_codebooks)
    codes_TxK = clip.codes_TxK
    for start, past_PxK, T in _stretches(scores, codes_TxK, length):
      _each(scores.reveal(past_PxK, T), _Decoder(clip, start, num_bits).take)
      expected = _checksum(codes_TxK[start : start + T])
      if clip.number(None, _CHECK_BITS) != expected:
        raise ValueError("a checksum of codes is wrong")
    clips.append(codes_TxK)
  finish()
  return clips


def node_logits(scores_NxV: np.ndarray, num_bits: int) -> np.ndarray:
  """Returns each decision's logit by its node, (N, 2 ** num_bits) float64, in 256ths.

  A decision is a one with the probability that the scores give the codes below it.
  """
  scores = np.asarray(scores_NxV, np.float64)
  scores = np.maximum(scores - scores.max(1, keepdims=True), -600.0)
  level = np.zeros((len(scores), 1 << num_bits))
  level[:, : scores.shape[1]] = np.exp(scores)
  logits = np.zeros_like(level)
  with np.errstate(divide="ignore", invalid="ignore"):
    for depth in range(num_bits - 1, -1, -1):
      zeros, ones = level[:, ::2], level[:, 1::2]
      logits[:, 1 << depth : 2 << depth] = 256 * np.log(ones / zeros)
      level = zeros + ones
  return np.clip(np.nan_to_num(logits, posinf=LIMIT, neginf=-LIMIT), -LIMIT, LIMIT)


def rounded(logits: np.ndarray, offset: int) -> np.ndarray:
  """Rounds logits to the middle of their step on the grid at an offset, integers."""
  steps = np.floor(logits / STEP + offset / (1 << OFFSET_BITS)).astype(np.int64)
  return steps * STEP + STEP // 2 - (offset * STEP >> OFFSET_BITS)


def best_offset(logits: np.ndarray) -> int:
  """Returns the offset of the grid whose edges are farthest from all these logits."""
  places = np.sort(np.unique(np.mod(logits, STEP)))
  gaps = np.diff(places, append=places[0] + STEP)
  widest = gaps.argmax()
  edge = places[widest] + gaps[widest] / 2
  return round(-edge / STEP * (1 << OFFSET_BITS)) % (1 << OFFSET_BITS)


class _Group(NamedTuple):
  """Codes that share a grid: their cells, and the nodes and logits of their paths."""

  cells: list[tuple[int, int]]
  nodes_NxD: np.ndarray
  logits_NxD: np.ndarray


class _Path:
  """The decisions of known codes."""

  def __init__(self, num_bits: int):
    self._num_bits = num_bits
    self._cells: list[tuple[int, int]] = []
    self._nodes: list[np.ndarray] = []
    self._logits: list[np.ndarray] = []

  def add(self, scored: Scored, codes_TxK: np.ndarray) -> list[int]:
    """Adds codes that were scored, which it returns."""
    codes = [int(codes_TxK[cell]) for cell in scored.cells]
    shifts_D = np.arange(self._num_bits, 0, -1)
    nodes_NxD = (1 << self._num_bits | np.array(codes)[:, None]) >> shifts_D
    logits = node_logits(scored.scores_NxV, self._num_bits)
    self._cells += scored.cells
    self._nodes.append(nodes_NxD)
    self._logits.append(np.take_along_axis(logits, nodes_NxD, axis=1))
    return codes

  def groups(self) -> list[_Group]:
    nodes, logits = np.concatenate(self._nodes), np.concatenate(self._logits)
    starts = range(0, len(self._cells), GROUP)
    parts = [slice(start, start + GROUP) for start in starts]
    return [_Group(self._cells[p], nodes[p], logits[p]) for p in parts]


class _Clip:
  """A clip whose codes are written, or read, one by one.

  Attributes:
    codes_TxK: those so far; others are no code.
  """

  def __init__(self, coder: Coder, model: Model, T: int, K: int):
    self._coder, self._model = coder, model
    self._codes = np.full((_BEFORE + T, K), model.none, np.int32)
    self.codes_TxK = self._codes[_BEFORE:]

  def code(self, t: int, k: int, code: int | None, given) -> int:
    """Writes or reads a code, given the language model's logits by node."""
    at = t + _BEFORE
    other = self._codes[at, k - 1] if k else self._codes[at - 2, 0]
    neighbours = int(self._codes[at - 1, k]), int(other)
    found = self._model.code(self._coder, k, neighbours, code, given)
    self._codes[at, k] = found
    return found

  def number(self, value: int | None, num_bits: int) -> int:
    """Writes or reads a number that nothing is known of."""
    found = 0
    for shift in range(num_bits - 1, -1, -1):
      bit = None if value is None else value >> shift & 1
      found = found << 1 | self._coder(bit, _EVEN)
    return found


class _Decoder:
  """Reads codes of a stretch as they are scored."""

  def __init__(self, clip: _Clip, start: int, num_bits: int):
    self._clip, self._start, self._num_bits = clip, start, num_bits
    self._count = self._offset = 0

  def take(self, scored: Scored) -> list[int]:
    logits_NxM = node_logits(scored.scores_NxV, self._num_bits)
    codes = []
    for (t, k), logits_M in zip(scored.cells, logits_NxM, strict=True):
      if self._count % GROUP == 0:
        self._offset = self._clip.number(None, OFFSET_BITS)
      self._count += 1
      given = rounded(logits_M, self._offset).tolist()
      codes.append(self._clip.code(self._start + t, k, None, given))
    return codes


def _model(K, num_bits, num_codes):
  return Model(K, num_bits, num_codes, FIRST_WEIGHTS)


def _stretches(scores, codes_TxK, length):
  """Yields the first frame of each stretch, the frames before it, and its length."""
  for start in range(0, length, scores.frames):
    past_PxK = codes_TxK[max(0, start - scores.past) : start]
    yield start, past_PxK, min(scores.frames, length - start)


def _each(
  steps: Generator[Scored, Sequence[int], None],
  take: Callable[[Scored], Sequence[int]],
) -> None:
  """Sends what `take` returns for each thing that is yielded."""
  try:
    scored = next(steps)
    while True:
      scored = steps.send(take(scored))
  except StopIteration:
    return


def _checksum(codes_TxK: np.ndarray) -> int:
  return zlib.crc32(np.ascontiguousarray(codes_TxK).astype("<u2").tobytes())
