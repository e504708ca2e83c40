"""A vocoder with its weights: audio to mel spectrograms and back."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxcodec import weights
from jaxcodec.api import checks
from jaxcodec.codecs.shapes import fold_for_inference
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.data.audio.files import resample
from jaxcodec.inference.buckets import bucket


class VocoderModel:
  """A vocoder. Pads inputs to one of a few lengths, so that few programs are compiled.

  Attributes:
    mel: settings of the features; see `MelFeatures`.
    fingerprint: sha256 of the weights.
  """

  def __init__(self, vocoder: Vocoder, variables: Any):
    self.mel, self.fingerprint = vocoder.mel, weights.fingerprint(variables)
    folded = fold_for_inference(vocoder, variables["params"])
    self._variables = {"params": folded}
    self._vocoder = vocoder
    self._compile()

  def __getstate__(self) -> dict[str, Any]:
    """Pickles it without compiled programs, which another process makes itself."""
    state = {**self.__dict__, "_variables": jax.device_get(self._variables)}
    return {k: v for k, v in state.items() if k not in ("_features", "_decode")}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._variables = jax.device_put(self._variables)
    self._compile()

  def _compile(self) -> None:
    vocoder = self._vocoder
    self._features = jax.jit(vocoder.mel)
    self._decode = jax.jit(lambda *args: vocoder.apply(*args, method="decode"))

  @property
  def sample_rate(self) -> int:
    """Rate of the audio on both sides, Hz."""
    return self.mel.sample_rate

  def features(
    self,
    audio: Any,
    sample_rate: int | None = None,
    lengths: Sequence[int] | None = None,
  ) -> list[np.ndarray]:
    """Returns log mel magnitudes (T, M) float32 of each item.

    Args:
      audio: (N,), (B, N) or (B, N, 1); floats in [-1, 1] or int16.
      sample_rate: of the audio, Hz; the vocoder's if None. Other rates are resampled.
      lengths: samples of each item, N if None.

    Raises:
      ValueError: naming the argument that is wrong, or audio shorter than a frame.
    """
    rate = checks.sample_rate(sample_rate, self.sample_rate)
    clips = checks.full_scale(checks.clips(audio, lengths, 1))
    return [self._analyse(resample(c, rate, self.sample_rate)[:, 0]) for c in clips]

  def decode(self, features_TxM: Any) -> np.ndarray:
    """Returns audio (N,) float32 for the features (T, M) of one item.

    Raises:
      ValueError: features of another shape or type, or NaN in them.
    """
    features_TxM = np.asarray(features_TxM)
    shape, T = features_TxM.shape, len(features_TxM) if features_TxM.ndim else 0
    if features_TxM.ndim != 2 or shape[1] != self.mel.n_mels or not T:
      raise ValueError(f"features must be (T, {self.mel.n_mels}), got {shape}")
    if not np.isfinite(features_TxM).all():
      raise ValueError("features must be finite, got NaN or infinity")
    padded = np.zeros((1, bucket(T), shape[1]), np.float32)
    padded[0, :T] = features_TxM
    audio_BxN = self._decode(self._variables, padded, np.array([T], np.int32))
    hops = T - (self.mel.padding == "center")
    return np.asarray(audio_BxN)[0, : hops * self.mel.hop]

  def _analyse(self, audio_N: np.ndarray) -> np.ndarray:
    frames = self.mel.num_frames(len(audio_N))
    if frames < 1:
      raise ValueError(f"audio of {len(audio_N)} samples is less than a frame")
    hops = max(frames, -(-len(audio_N) // self.mel.hop))
    padded = np.zeros((1, bucket(hops) * self.mel.hop), np.float32)
    padded[0, : len(audio_N)] = audio_N
    features_BxTxM = self._features(padded, np.array([len(audio_N)], np.int32))
    return np.asarray(features_BxTxM)[0, :frames]
