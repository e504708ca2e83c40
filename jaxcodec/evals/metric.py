"""The interface of a metric: what it is given, returns, and raises."""

import abc
import dataclasses
import importlib
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxcodec.data import extras
from jaxcodec.stats import means


def install_line(packages: tuple[str, ...]) -> str:
  """Returns the shell line that installs pip requirements."""
  return extras.install_line(map(_name, packages))


def _name(requirement: str) -> str:
  return re.split(r"[<>=!~\[;]", requirement)[0]


def require(requirement: str, *modules: str) -> list[Any]:
  """Imports modules and returns them.

  Raises:
    MetricAbsent: one does not import; the message is `requirement`.
  """
  try:
    with warnings.catch_warnings():
      # Our users can't fix what another package's import warns of.
      warnings.simplefilter("ignore")
      return [importlib.import_module(name) for name in modules]
  # OSError: the package is installed, but its shared libraries don't load.
  except (ImportError, OSError) as error:
    raise MetricAbsent(requirement) from error


class MetricFailed(Exception):
  """The metric has no value on this utterance; the message says why."""


class NothingHeard(MetricFailed):
  """An utterance is too short or too quiet to be measured."""


class MetricAbsent(Exception):
  """The metric cannot run here; the message is the line that installs it."""


@dataclasses.dataclass(frozen=True, eq=False)
class EvalClip:
  """An utterance to measure, with what metrics compare it with.

  Attributes:
    id: the utterance's id.
    speaker: the speaker's id.
    text: the transcript; None where unknown.
    sample_rate: of `audio`, `reference` and `prompt`, Hz.
    audio: the signal under test, (N,) float in [-1, 1].
    reference: the time-aligned original, for metrics that need one.
    prompt: other speech of the speaker whom `audio` should sound like.
    codes_TxK: the codec's codes of this utterance.
    bits: the size of the coded audio, for a codec without a token spec.
    delay: samples by which `audio` is later than `reference`, which comparisons of the
      two undo; None where it was looked for and not found. Codecs and language models
      of an experiment have none.
    failed: why every metric fails, e.g. a file that can't be read any more.
    wavs: where its sound files are, relative to the work directory, by kind: one of
      `original`, `reconstruction`, `generated`. Recorded in the utterance's row.
  """

  id: str
  speaker: str
  text: str | None
  sample_rate: int
  audio: np.ndarray
  reference: np.ndarray | None = None
  prompt: np.ndarray | None = None
  codes_TxK: np.ndarray | None = None
  bits: int | None = None
  delay: int | None = 0
  failed: str | None = None
  wavs: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Score(NamedTuple):
  """A metric's value on one utterance.

  Attributes:
    value: the number in the utterance's row.
    weight: of the value in the set's mean (of the WER, the reference's words).
    row: further fields of the utterance's row.
    detail: what `summarise` needs besides values and weights.
  """

  value: float
  weight: float = 1.0
  row: dict[str, Any] = {}
  detail: Any = None


class Spec(Protocol):
  """The fields of `jaxcodec.types.TokenSpec` that metrics read."""

  num_codebooks: int
  codebook_size: int
  bitrate: float


class MetricSettings(NamedTuple):
  """What a config says of metrics. Each takes from it what it needs.

  Attributes:
    spec: the codec's token spec; None where no metric is to need it.
    asr: the recogniser, `evaluate.asr`.
    speaker_model: `evaluate.speaker`.
    utmos: the model's file, `evaluate.utmos`.
    threads: CPU threads of a neural metric, `evaluate.threads`.
    language: of the speech, `evaluate.language`, such as `en` or `de`.
  """

  spec: Spec | None
  asr: str
  speaker_model: str
  utmos: str | None
  threads: int
  language: str


class Metric(abc.ABC):
  """One named measure. A subclass sets the attributes and implements `score`.

  A metric that is made from the config's settings also implements `make`.

  Attributes:
    name: key in results.json.
    unit: of the value; "" for a plain number.
    better: "higher", "lower", or "" where neither is better.
    measures: its definition in one sentence, for the report.
    packages: its pip requirements.
    needs: what it has no value without, beside the audio: `reference` (in time with
      it), `prompt` and `text` of a clip, `spec` and `utmos` of the settings.
    of_codes: whether it measures a codec's codes, of which there are none in the
      recordings and in what another codec made.
    of_the_set: whether `summarise` gives something else than the mean of the
      utterances' values, so that utterances can't be compared one by one.
  """

  name: str
  unit: str = ""
  better: str = ""
  measures: str = ""
  packages: tuple[str, ...] = ()
  needs: tuple[str, ...] = ()
  of_codes: bool = False
  of_the_set: bool = False

  @classmethod
  def make(cls, settings: MetricSettings) -> "Metric":
    """Makes the metric, without loading what it runs on.

    Raises:
      ConfigError, ValueError: the settings lack what it needs.
    """
    return cls()

  @property
  def requirement(self) -> str:
    """The line that installs the metric's packages."""
    return install_line(self.packages)

  @property
  def distributions(self) -> tuple[str, ...]:
    """Names of the packages, without versions."""
    return tuple(map(_name, self.packages))

  def load(self) -> dict[str, str]:
    """Loads packages and weights.

    Returns:
      sha256 of the weights, by model name.

    Raises:
      MetricAbsent: a package is not installed.
      FileNotFoundError, ValueError: a model's path in the config is wrong.
    """
    return {}

  @abc.abstractmethod
  def score(self, clip: EvalClip) -> Score:
    """Measures one clip.

    Raises:
      MetricFailed: the metric has no value on it.
    """

  def summarise(self, scores: list[Score]) -> dict[str, Any]:
    """Returns {mean, ci95} of a set, given the scores of clips that did not fail."""
    return means.estimate(
      np.array([s.value for s in scores]), np.array([s.weight for s in scores])
    )

  def describe(self) -> dict[str, Any]:
    """Returns what results.json says about the metric."""
    about = {"unit": self.unit, "better": self.better, "measures": self.measures}
    return about | {"of_the_set": True} if self.of_the_set else about

  def require(self, *modules: str) -> list[Any]:
    """Imports modules; raises MetricAbsent with the install line if one is missing."""
    return require(self.requirement, *modules)
