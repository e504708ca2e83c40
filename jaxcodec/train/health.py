"""Named warnings about training that goes wrong in ways its loss doesn't show."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

Values = dict[str, Any]

# A codebook has collapsed if its perplexity is below this fraction of its size, or
# below this many codes.
_COLLAPSED_FRACTION, _COLLAPSED_CODES = 0.01, 2.0
# Fraction of the loss of a discriminator that only guesses; below this it has won. In
# good runs its loss stays above half.
_WON_FRACTION = 0.1
# Fraction of the time spent waiting for batches; 0.01 is usual.
_STARVED_FRACTION = 0.2
# Nats on codebook 0 that a wrong condition costs a model that uses its condition.
_USED_NATS = 0.05


class Symptom(NamedTuple):
  """Something that lines of metrics may show.

  Attributes:
    name: of the warning.
    advice: what it means and what to try, in a line.
    lines: how many lines in a row must show it.
    find_evidence: maps a line's metrics to the figures that show the symptom as text,
      "" if they don't, None if the line hasn't the metrics to tell.
  """

  name: str
  advice: str
  lines: int
  find_evidence: Callable[[Values], str | None]


class Watch:
  """Warns of symptoms that last; for the loop's `on_log`."""

  def __init__(self, symptoms: Sequence[Symptom], every: int = 50):
    """Starts to count lines.

    Args:
      symptoms: what to look for.
      every: lines between two warnings of the same symptom, at least.
    """
    self._symptoms, self._every = symptoms, every
    self._lines_in_a_row = [0] * len(symptoms)
    self._lines_until_next = [0] * len(symptoms)

  def __call__(self, step: int, values: Values) -> None:
    """Examines a line of metrics."""
    for number, symptom in enumerate(self._symptoms):
      evidence = symptom.find_evidence(values)
      if evidence is None:
        continue
      self._lines_until_next[number] -= 1
      lines = self._lines_in_a_row[number] + 1 if evidence else 0
      self._lines_in_a_row[number] = lines
      if lines >= symptom.lines and self._lines_until_next[number] <= 0:
        self._lines_until_next[number] = self._every
        logging.warning(
          "%s: step %d, %s: %s. %s",
          symptom.name,
          step,
          f"{lines} lines of metrics in a row" if lines > 1 else "last metrics",
          evidence,
          symptom.advice,
        )


def codebook_collapse(codebook_size: int, lines: int = 10) -> Symptom:
  """Returns the symptom of a codebook of which a batch uses hardly any codes."""
  floor = max(_COLLAPSED_CODES, _COLLAPSED_FRACTION * codebook_size)

  def find_evidence(values):
    if "perplexity" not in values:
      return None
    perplexity_K = np.atleast_1d(values["perplexity"])
    low = np.flatnonzero(perplexity_K < floor)
    books = ", ".join(f"{perplexity_K[k]:.2f} of codebook {k}" for k in low)
    return books and f"perplexity {books}, of {codebook_size} codes, below {floor:.4g}"

  advice = (
    "All frames fall on a few codes, so that the others carry nothing: lower the"
    " learning rate, clip the gradient, warm up for longer"
  )
  return Symptom("CodebookCollapse", advice, lines, find_evidence)


def discriminator_wins(undecided: float, lines: int = 10) -> Symptom:
  """Returns the symptom of discriminators that tell all real audio from the codec's.

  Args:
    undecided: loss of a discriminator that only guesses.
    lines: of metrics, in a row.
  """

  def find_evidence(values):
    if not values.get("disc_grad_norm"):  # it isn't trained yet
      return None
    loss = values["disc"]
    low = loss < _WON_FRACTION * undecided
    return (
      f"its loss is {loss:.3g}, and {undecided:.3g} if it can't tell" if low else ""
    )

  advice = (
    "It tells every original from its reconstruction, and no longer says how to do"
    " better: lower disc_optimizer.learning_rate, or start it later"
    " (adversarial_start)"
  )
  return Symptom("DiscriminatorWins", advice, lines, find_evidence)


def condition_ignored() -> Symptom:
  """Returns the symptom of a language model that doesn't use what it is given.

  Early in training every model has it: look at the last metrics.
  """

  def find_evidence(values):
    gain_K = values.get("eval/gain_per_codebook")
    if gain_K is None:
      return None
    gains = " ".join(f"{gain:.3f}" for gain in gain_K)
    return (
      f"another utterance's condition costs {gain_K[0]:.3f} nats on codebook 0, less"
      f" than {_USED_NATS} (of each codebook: {gains})"
      if gain_K[0] < _USED_NATS
      else ""
    )

  advice = (
    "It says something else than its text or semantic tokens: train for longer, on"
    " more and more varied utterances; models of texts with slm.positions=aligned"
  )
  return Symptom("ConditionIgnored", advice, 1, find_evidence)


def input_starved(lines: int = 3) -> Symptom:
  """Returns the symptom of devices that wait for batches."""

  def find_evidence(values):
    if "input_wait_fraction" not in values:
      return None
    waiting = values["input_wait_fraction"]
    starved = waiting > _STARVED_FRACTION
    return f"{waiting:.0%} of the time went by waiting for data" if starved else ""

  advice = (
    "The devices idle: put the data on a faster disk or in prepared shards, give the"
    " process more cores; data.source=synthetic shows the speed without them"
  )
  return Symptom("InputStarved", advice, lines, find_evidence)
