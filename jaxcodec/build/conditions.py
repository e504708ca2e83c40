"""What a speech language model is given to say: a text, or semantic tokens.

All that depends on this alone is here: the size of the model's table of inputs, which
file of the tokens stage its weights need, which prompts and jobs it generates from, and
the class of `jaxcodec.api` that it is used by.
"""

import abc
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from jaxcodec import files
from jaxcodec.build.fields import Config, ConfigError, positive
from jaxcodec.data.text import Vocabulary, wrapped
from jaxcodec.data.token_store import TokenSource
from jaxcodec.inference import slm
from jaxcodec.slm.valle import Valle
from jaxcodec.types import TokenSpec

VOCABULARY, SEMANTIC = "vocabulary.json", "semantic.safetensors"

Record = Mapping[str, Any]


class Candidate(NamedTuple):
  """A record that can be a prompt; the greater one is longer, or later by its id."""

  seconds: float
  id: str
  source: TokenSource
  index: int


class Condition(abc.ABC):
  """What a language model is given beside the codes of a prompt.

  Attributes:
    needs_text: whether only records with a text can be used.
    file: of the tokens stage, which the model's folder has a copy of.
    loader: `module:function` that loads a trained model for use, a function of
      `api.slm_loading.Run`; imported when it is called, as it lies in a layer above.
  """

  needs_text: ClassVar[bool]
  file: ClassVar[str]
  loader: ClassVar[str]

  @abc.abstractmethod
  def size(self, config: Config, vocabulary: Vocabulary | None) -> dict[str, int]:
    """The model's arguments that say how many different inputs there are.

    Those that a model of texts was trained on also say how fast they are spoken.

    Raises:
      ConfigError: the config does not say it.
    """

  def keep(
    self,
    tokens: pathlib.Path,
    folder: pathlib.Path,
    train: TokenSource,
    spec: TokenSpec,
  ) -> None:
    """Copies `file` of the tokens stage to the folder of a model.

    Args:
      tokens: the tokens stage's folder.
      folder: the model's.
      train: what the model was trained on.
      spec: of the codec.
    """
    files.write_bytes(folder / self.file, (tokens / self.file).read_bytes())

  @abc.abstractmethod
  def choose_prompt(self, found: Sequence[Candidate], most: float) -> Candidate:
    """The prompt out of candidates, for prompts of at most `most` seconds."""

  @abc.abstractmethod
  def cut_prompt(self, record: Record, most: int) -> Record:
    """The part of a prompt that is used, of at most `most` frames if it can be cut."""

  @abc.abstractmethod
  def make_job(self, record: Record, prompt: Record | None, seed: int) -> Any:
    """The job of saying what a record says; see `inference.slm`."""

  @abc.abstractmethod
  def num_samples(self, record: Record) -> int | None:
    """Samples of what is generated for a record; None where the model decides."""

  @abc.abstractmethod
  def run(
    self, model: Any, params: Any, jobs: Sequence[Any], sampler: Any, batch_size: int
  ) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Generates; yields (index of a job, codes (T, K) int32, whether it ended)."""

  def align(
    self, model: Any, params: Any, job: Any, codes_TxK: np.ndarray
  ) -> tuple[np.ndarray, float] | None:
    """What was looked at for each frame, if that can tell something: `slm.align`."""
    return None


class Texts(Condition):
  """Texts. A prompt is a whole utterance, as nobody knows which words a part has."""

  needs_text = True
  file = VOCABULARY
  loader = "jaxcodec.api.slm_loading:load_text_to_speech"

  def size(self, config: Config, vocabulary: Vocabulary | None) -> dict[str, int]:
    if vocabulary is None:
      raise ConfigError(
        f"text is missing: slm.name is {config['slm']['name']!r}, which reads texts;"
        " give text.front_end and text.max_symbols"
      )
    pace, known = vocabulary.symbols_per_second, {"num_text": len(vocabulary)}
    return known if pace is None else {**known, "symbols_per_second": pace}

  def keep(self, tokens, folder, train, spec):
    """Copies the vocabulary, and adds how fast the texts are spoken."""
    labels = [label for label in train.labels if "symbols" in label]
    symbols, frames = (sum(x[name] for x in labels) for name in ("symbols", "frames"))
    pace = symbols / frames * spec.frame_rate
    vocabulary = Vocabulary.load(tokens / self.file)
    vocabulary = dataclasses.replace(vocabulary, symbols_per_second=pace)
    vocabulary.save(folder / self.file)

  def choose_prompt(self, found: Sequence[Candidate], most: float) -> Candidate:
    """The longest that fits, or else the shortest."""
    fitting = [one for one in found if one.seconds <= most]
    return max(fitting, key=_length) if fitting else min(found, key=_length)

  def cut_prompt(self, record: Record, most: int) -> Record:
    return record

  def make_job(self, record: Record, prompt: Record | None, seed: int) -> slm.SpeakJob:
    if not prompt:
      return slm.SpeakJob(wrapped(record["text_S"]), None, seed)
    text_S = wrapped(prompt["text_S"], record["text_S"])
    return slm.SpeakJob(text_S, prompt["codes_TxK"], seed, len(prompt["text_S"]))

  def num_samples(self, record: Record) -> None:
    return None

  def run(self, model, params, jobs, sampler, batch_size):
    return slm.speak(model, params, jobs, sampler, batch_size)

  def align(self, model, params, job, codes_TxK):
    if not isinstance(model, Valle):
      return None
    return slm.align(model, params, job, codes_TxK)


class SemanticTokens(Condition):
  """Semantic tokens, one a frame. A prompt is the beginning of an utterance."""

  needs_text = False
  file = SEMANTIC
  loader = "jaxcodec.api.slm_loading:load_voice_converter"

  def size(self, config: Config, vocabulary: Vocabulary | None) -> dict[str, int]:
    return {"num_semantic": positive(config["semantic"], "semantic", "num_clusters")}

  def choose_prompt(self, found: Sequence[Candidate], most: float) -> Candidate:
    """The longest."""
    return max(found, key=_length)

  def cut_prompt(self, record: Record, most: int) -> Record:
    arrays = {name: record[name][:most] for name in ("codes_TxK", "semantic_T")}
    return {**record, **arrays}

  def make_job(self, record: Record, prompt: Record | None, seed: int) -> slm.FillJob:
    if not prompt:
      return slm.FillJob(record["semantic_T"], None, seed)
    semantic_T = np.concatenate([prompt["semantic_T"], record["semantic_T"]])
    return slm.FillJob(semantic_T, prompt["codes_TxK"], seed)

  def num_samples(self, record: Record) -> int:
    return record["samples"]

  def run(self, model, params, jobs, sampler, batch_size):
    for index, codes_TxK in slm.fill(model, params, jobs, sampler, batch_size):
      yield index, codes_TxK, True


def _length(one: Candidate) -> tuple[float, str]:
  return one.seconds, one.id
