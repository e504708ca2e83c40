"""What a metric is, what it is given, and the two ways of having no value."""

import abc
import dataclasses
import importlib
import re
import shlex
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxcodec.stats import means


def install_line(packages: tuple[str, ...]) -> str:
  """The shell line that installs pip requirements."""
  return "pip install " + " ".join(shlex.quote(p) for p in packages)


def require(requirement: str, *modules: str) -> list[Any]:
  """Imports modules.

  Raises:
    MetricAbsent: one does not import; with the line that installs it.
  """
  try:
    with warnings.catch_warnings():
      # What another package's import warns of is not for our users to mend.
      warnings.simplefilter("ignore")
      return [importlib.import_module(name) for name in modules]
  # OSError: installed, but its shared libraries do not load.
  except (ImportError, OSError) as error:
    raise MetricAbsent(requirement) from error


class MetricFailed(Exception):
  """The metric has no value on this utterance; the message says why."""


class MetricAbsent(Exception):
  """The metric cannot run here; the message is the line that installs it."""


@dataclasses.dataclass(frozen=True, eq=False)
class EvalClip:
  """One utterance to measure.

  Attributes:
    id: the utterance's id.
    speaker: who speaks.
    text: what is said; None where unknown.
    sample_rate: of all three signals, Hz.
    audio: the signal under test, (N,) float in [-1, 1].
    reference: the time-aligned original, for metrics that compare with one.
    prompt: speech of the speaker whom `audio` should sound like.
    codes_TxK: the codec's codes of this utterance.
    bits: how many carried the audio, of a codec without a token spec.
    failed: why no metric has a value, e.g. a generation of no frames.
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
  failed: str | None = None
  wavs: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Score(NamedTuple):
  """A metric's value on one utterance.

  Attributes:
    value: the number in the utterance's row.
    weight: its share in the mean (reference words for the WER).
    row: what else the utterance's row should show.
    detail: what `summarise` needs beyond values and weights.
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
  """

  spec: Spec | None
  asr: str
  speaker_model: str
  utmos: str | None
  threads: int


class Metric(abc.ABC):
  """One named measure. A subclass sets the attributes and implements `score`.

  A metric that is made from the config's settings also implements `make`.

  Attributes:
    name: key in results.json.
    unit: unit of the value; "" for a plain number.
    better: "higher", "lower", or "" where neither is better.
    measures: one sentence for the report.
    packages: pip requirements that it runs on.
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
    """The line that installs what the metric runs on."""
    return install_line(self.packages)

  @property
  def distributions(self) -> tuple[str, ...]:
    """Names of the packages, without versions."""
    return tuple(re.split(r"[<>=!~\[;]", p)[0] for p in self.packages)

  def load(self) -> dict[str, str]:
    """Loads packages and weights; returns the weights' sha256 by model name.

    Raises:
      MetricAbsent: a package is not installed.
      FileNotFoundError, ValueError: a model path given by the user is wrong.
    """
    return {}

  @abc.abstractmethod
  def score(self, clip: EvalClip) -> Score:
    """Measures one utterance.

    Raises:
      MetricFailed: it has no value there.
    """

  def summarise(self, scores: list[Score]) -> dict[str, Any]:
    """{mean, ci95} over utterances that did not fail."""
    return means.estimate(
      np.array([s.value for s in scores]), np.array([s.weight for s in scores])
    )

  def describe(self) -> dict[str, Any]:
    """Returns what results.json says about the metric."""
    about = {"unit": self.unit, "better": self.better, "measures": self.measures}
    return about | {"of_the_set": True} if self.of_the_set else about

  def require(self, *modules: str) -> list[Any]:
    """Imports modules; MetricAbsent with the install line if one does not import."""
    return require(self.requirement, *modules)
