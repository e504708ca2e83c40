"""What language models say of codes that are being coded; see `coding.scored`.

All is computed in float32 and for one clip at a time, by programs of fixed shapes: the
same ones for the writer, who knows the codes, as for readers, who don't. No text and no
semantic tokens are given, as a file would have to hold them.
"""

import abc
import dataclasses
import functools
from collections.abc import Generator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.coding.scored import Scored
from jaxcodec.data.text import wrapped
from jaxcodec.nn import kv_cache
from jaxcodec.slm import delay_model, incremental
from jaxcodec.slm.positions import Pace
from jaxcodec.weights import fingerprint

Steps = Generator[Scored, Sequence[int], None]

# Models are trained on utterances of about so many frames in all.
_FRAMES, _PAST = 250, 150
_STRIDES = ((8, 0), (8, 4), (4, 2), (2, 1))  # which frames in turn: each n-th, from


class CodeScores(abc.ABC):
  """A language model that scores codes.

  Args:
    model: it, of the class that `build.language_models` names these scores for.
    params: its parameters.
    codec_fingerprint: of the weights that make the codes.
    about: what a file says of the model besides.

  Attributes:
    frames, past, scheme: see `coding.scored.Scores`. Files hold the scheme: whatever
      changes in how scores are computed gets another.
    fingerprint: of the parameters.
  """

  frames, past = _FRAMES, _PAST
  scheme: str

  def __init__(
    self, model: Any, params: Any, codec_fingerprint: str, about: dict[str, str]
  ):
    self.fingerprint, self.codec_fingerprint = fingerprint(params), codec_fingerprint
    self.about, self.spec = about, model.spec
    self._model, self._params = _float32(model), jax.device_put(params)

  def reveal(self, past_PxK: np.ndarray, T: int) -> Steps:
    """Scores T frames behind others; see `coding.scored.Scores`."""
    steps, codes = self._reveal(past_PxK, T), None
    while True:
      with jax.default_matmul_precision("highest"):
        try:
          scored = steps.send(codes)  # type: ignore[arg-type]
        except StopIteration:
          return
      codes = yield scored

  @abc.abstractmethod
  def _reveal(self, past_PxK: np.ndarray, T: int) -> Steps:
    """As `reveal`, whatever JAX's settings."""

  def _window(self, past_PxK: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes (1, N, K), hidden behind the past, and the mask of their frames."""
    size, past = self.past + self.frames, len(past_PxK)
    shape = 1, size, self.spec.num_codebooks
    codes_1xNxK = np.full(shape, self.spec.mask_id, np.int32)
    codes_1xNxK[0, :past, : past_PxK.shape[1]] = past_PxK
    return codes_1xNxK, np.arange(size)[None] < past + T


class MaskGitScores(CodeScores):
  """Levels in turn, given those below; the first one in strides ever finer."""

  scheme = "maskgit-1"

  def _reveal(self, past_PxK: np.ndarray, T: int) -> Steps:
    past, K = past_PxK.shape
    codes_1xNxK, mask_1xN = self._window(past_PxK, T)
    for level in range(K):
      for stride, first in ((1, 0),) if level else _STRIDES:
        frames = range(first, T, stride)
        if not frames:
          continue
        inputs = codes_1xNxK, mask_1xN, np.int32(level)
        scores_NxV = np.asarray(_maskgit_level(self._model, self._params, *inputs))
        cells = [(t, level) for t in frames]
        at = np.array(frames) + past
        codes_1xNxK[0, at, level] = yield Scored(cells, scores_NxV[at])


class ValleScores(CodeScores):
  """Codebook 0 frame after frame, then each other level given those below."""

  scheme = "valle-1"

  def __init__(self, *args: Any):
    super().__init__(*args)
    self._ar = incremental.unstacked(self._model.ar, self._params["ar"])

  def _reveal(self, past_PxK: np.ndarray, T: int) -> Steps:
    past, K = past_PxK.shape
    codes_1xNxK, mask_1xN = self._window(past_PxK, T)
    model, given = self._model.ar, _given(self._model, past)
    known = codes_1xNxK[:, : self.past, 0], np.arange(self.past)[None] < past
    scores_V, *state = _begin(model, self._ar, given, known, self.frames)
    for t in range(T):
      (code,) = yield Scored([(t, 0)], np.asarray(scores_V)[None, :-1])
      codes_1xNxK[0, past + t, 0] = code
      if t < T - 1:
        fed = np.array([[code]], np.int32), np.int32(t)
        scores_V, *state = _advance(model, self._ar, given, state, *fed)
    for level in range(1, K):
      inputs = codes_1xNxK, mask_1xN, np.int32(level), given
      scores_NxV = _nar_level(self._model.nar, self._params["nar"], *inputs)
      cells = [(t, level) for t in range(T)]
      codes = yield Scored(cells, np.asarray(scores_NxV)[past : past + T])
      codes_1xNxK[0, past : past + T, level] = codes


class DelayScores(CodeScores):
  """Step after step, each codebook a step later than the one below."""

  scheme = "delay-1"

  def __init__(self, *args: Any):
    super().__init__(*args)
    self._unstacked = incremental.unstacked(self._model.model, self._params)

  def _reveal(self, past_PxK: np.ndarray, T: int) -> Steps:
    past, K = past_PxK.shape
    model, given = self._model.model, _given(self._model, past)
    codes_1xNxK, mask_1xN = self._window(past_PxK, 0)
    books = self.spec.num_codebooks
    extra = delay_model.extra_steps(books)
    delayed = delay_model.delay(codes_1xNxK, mask_1xN, self.spec.mask_id)
    known = delayed[:, : self.past], mask_1xN[:, : self.past]
    size = self.frames + extra
    scores_KxV, *state = _begin(model, self._unstacked, given, known, size)
    for step in range(T + K - 1):
      cells = [(step - k, k) for k in range(K) if 0 <= step - k < T]
      rows = np.asarray(scores_KxV)[[k for _, k in cells], :-1]
      codes = yield Scored(cells, rows)
      for (t, k), code in zip(cells, codes, strict=True):
        codes_1xNxK[0, past + t, k] = code
      if step == T + K - 2:
        return
      fed_1x1xK = np.full((1, 1, books), self.spec.mask_id, np.int32)
      for k in range(max(0, step - T + 1), min(books, past + step + 1)):
        fed_1x1xK[0, 0, k] = codes_1xNxK[0, past + step - k, k]
      fed = fed_1x1xK, np.int32(step)
      scores_KxV, *state = _advance(model, self._unstacked, given, state, *fed)


def _float32(model: Any) -> Any:
  """Returns the model computing in float32, whatever it was trained in."""
  if dataclasses.is_dataclass(model) and not hasattr(model, "clone"):
    return dataclasses.replace(model, dtype=jnp.float32)
  return model.clone(dtype=jnp.float32)


def _given(model: Any, past: int) -> tuple[Any, Pace]:
  """Returns an empty text with its mask, and the pace of a usual one."""
  text_1xS = wrapped()[None]
  rate = np.float32(model.symbols_per_frame)
  past_1 = np.array([past], np.int32)
  pace = Pace(np.array([past * rate], np.float32), past_1, rate[None])
  return (text_1xS, np.ones(text_1xS.shape, bool)), pace


@functools.partial(jax.jit, static_argnums=(0, 4))
def _begin(model, params, given, known, size):
  """Reads what is known; returns the first scores, a cache, and its valid slots."""
  reader = incremental.Reader(model, params, *given, size)
  scores_1, cache, known_1xP = reader.read(*known)
  return scores_1[0], kv_cache.grow(cache, known_1xP.shape[1] + size), known_1xP


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def _advance(model, params, given, state, codes, step):
  """Feeds a frame's codes; returns the next scores, the cache, and the slots again."""
  cache, known_1xP = state
  reader = incremental.Reader(model, params, *given, 1)
  scores_1, cache = reader.advance(cache, codes, known_1xP, step)
  return scores_1[0], cache, known_1xP


@functools.partial(jax.jit, static_argnums=0)
def _nar_level(model, params, codes_1xNxK, mask_1xN, level, given):
  text, pace = given
  inputs = *text, codes_1xNxK, mask_1xN, level[None], pace
  return model.apply({"params": params}, *inputs)[0]


@functools.partial(jax.jit, static_argnums=0)
def _maskgit_level(model, params, codes_1xNxK, mask_1xN, level):
  semantic_1xN = jnp.full(mask_1xN.shape, model.no_semantic, jnp.int32)
  inputs = codes_1xNxK, semantic_1xN, mask_1xN, level[None]
  return model.apply({"params": params}, *inputs)[0]
