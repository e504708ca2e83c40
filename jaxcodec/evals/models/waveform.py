"""Runs a network on one clip after another, with a handful of compiled shapes."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.inference import buckets
from jaxcodec.semantic.hubert import SAMPLE_RATE, Hubert
from jaxcodec.semantic.hubert_features import normalised

_PREPROCESSOR = "preprocessor_config.json"


class Waveform:
  """A jitted function of one clip at 16 kHz.

  Clips are padded to a bucket's number of frames (`inference.buckets.bucket`), so that
  few shapes are compiled. Matrix products are float32 on every device, though some
  devices default to less.
  """

  def __init__(
    self,
    function: Callable[[Any, jax.Array, jax.Array], jax.Array],
    params: Any,
    model: Hubert,
    *,
    normalise: bool,
  ):
    """Compiles nothing yet.

    Args:
      function: takes parameters, audio_BxN and length_B (valid samples), and must
        ignore the padding behind them.
      params: its first argument.
      model: has the hop and the window, samples, that buckets are computed from.
      normalise: whether to scale clips to mean 0 and variance 1 first.
    """
    self._params, self._model = jax.device_put(params), model

    @jax.jit
    def run(params, audio_BxN, length_B):
      if normalise:
        audio_BxN = normalised(audio_BxN, length_B)
      return function(params, audio_BxN, length_B)

    self._run = run

  def __call__(self, audio_N: np.ndarray) -> np.ndarray:
    """Returns the function's result for one clip, padded to at least one frame."""
    length = max(len(audio_N), self._model.window)
    padded = buckets.bucket(-(-length // self._model.hop)) * self._model.hop
    audio_1xN = np.pad(audio_N.astype(np.float32), (0, padded - len(audio_N)))[None]
    with jax.default_matmul_precision("highest"):
      return np.asarray(self._run(self._params, audio_1xN, jnp.array([length])))[0]


def wants_normalised(folder: pathlib.Path) -> bool:
  """Reads whether a folder's model takes audio of mean 0 and variance 1.

  Source: transformers' Wav2Vec2FeatureExtractor.

  Raises:
    ValueError: the file, which the message names, can't be read, or the model takes
      another sample rate.
  """
  path = folder / _PREPROCESSOR
  try:
    said = json.loads(path.read_text(encoding="utf-8"))
    rate, normalise = said.get("sampling_rate", SAMPLE_RATE), said["do_normalize"]
  except (OSError, ValueError, KeyError, AttributeError) as error:
    raise ValueError(
      f"{path}: expected an object with do_normalize ({error!r})"
    ) from None
  if rate != SAMPLE_RATE:
    raise ValueError(f"{path}: sampling_rate must be {SAMPLE_RATE}, got {rate}")
  return bool(normalise)
