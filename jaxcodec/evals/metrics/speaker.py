"""Speaker similarity: the cosine of two speaker embeddings."""

import numpy as np

from jaxcodec.evals.audio import prepare
from jaxcodec.evals.metric import EvalClip, Metric, MetricFailed, Score
from jaxcodec.evals.models import speaker


class SpeakerSimilarity(Metric):
  """Cosine between the speaker embeddings of the audio and of its prompt.

  Values of different embedding models can't be compared: `measures` names the model.
  """

  name = "speaker_similarity"
  better = "higher"
  needs = ("prompt",)

  def __init__(self, model: str = speaker.DEFAULT, *, threads: int = 1):
    """Chooses the model.

    Raises:
      ConfigError: see `speaker.choose_speaker`.
    """
    self._name, self._threads = model, threads
    choice = speaker.choose_speaker(model)
    self.packages = choice.kind.packages
    self.measures = f"Cosine between {choice.definition} of the audio and its prompt."

  @classmethod
  def make(cls, settings):
    return cls(settings.speaker_model, threads=settings.threads)

  def load(self):
    self._model = speaker.load_speaker(self._name, threads=self._threads)
    return {self._model.name: self._model.sha256}

  def score(self, clip: EvalClip) -> Score:
    # A d-vector's window is 0.825 s; a padded one says little about a voice.
    audio, prompt = (
      prepare(signal, clip, name, rate=speaker.RATE, min_seconds=0.9)
      for name, signal in (("audio", clip.audio), ("prompt", clip.prompt))
    )
    return Score(float(self.embed(audio) @ self.embed(prompt)))

  def embed(self, audio: np.ndarray) -> np.ndarray:
    """Returns the unit-length embedding of (N,) audio at 16 kHz."""
    vector = self._model.embed(audio)
    if not np.any(vector):
      raise MetricFailed("the speaker model gave a zero vector")
    return speaker.unit(vector)
