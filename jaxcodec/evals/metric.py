"""What a metric is, what it is given, and the two ways of having no value."""

import abc
import dataclasses
import importlib
import re
import warnings
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.data import extras
from jaxcodec.stats import means


def install_line(packages: tuple[str, ...]) -> str:
  """Returns the shell line that installs pip requirements."""
  return extras.install_line(map(_name, packages))


def _name(requirement: str) -> str:
  return re.split(r"[<>=!~\[;]", requirement)[0]


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
class Item:
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


class Metric(abc.ABC):
  """One named measure. A subclass sets the attributes and implements `score`.

  Attributes:
    name: key in results.json.
    unit: unit of the value; "" for a plain number.
    better: "higher", "lower", or "" where neither is better.
    measures: one sentence for the report.
    packages: pip requirements that it runs on.
  """

  name: str
  unit: str = ""
  better: str = ""
  measures: str = ""
  packages: tuple[str, ...] = ()

  @property
  def requirement(self) -> str:
    """The line that installs what the metric runs on."""
    return install_line(self.packages)

  @property
  def distributions(self) -> tuple[str, ...]:
    """Names of the packages, without versions."""
    return tuple(map(_name, self.packages))

  def load(self) -> dict[str, str]:
    """Loads packages and weights; returns the weights' sha256 by model name.

    Raises:
      MetricAbsent: a package is not installed.
      FileNotFoundError, ValueError: a model path given by the user is wrong.
    """
    return {}

  @abc.abstractmethod
  def score(self, item: Item) -> Score:
    """Measures one utterance.

    Raises:
      MetricFailed: it has no value there.
    """

  def summarise(self, scores: list[Score]) -> dict[str, Any]:
    """{mean, ci95} over utterances that did not fail."""
    return means.estimate(
      np.array([s.value for s in scores]), np.array([s.weight for s in scores])
    )

  def describe(self) -> dict[str, str]:
    """What the report says about the metric."""
    return {"unit": self.unit, "better": self.better, "measures": self.measures}

  def require(self, *modules: str) -> list[Any]:
    """Imports modules; MetricAbsent with the install line if one does not import."""
    return require(self.requirement, *modules)
