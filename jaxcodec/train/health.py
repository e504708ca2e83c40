"""Warnings by name of training that goes wrong in a way that its loss does not show."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

Values = dict[str, Any]

# A perplexity below this part of the codes, or below two codes, is a collapse.
_PART, _CODES = 0.01, 2.0
# Of what discriminators lose that can't tell at all; those of good runs lose over half.
_WON = 0.1
# The share of the time that is spent waiting for batches; 0.01 is usual.
_STARVED = 0.2


class Symptom(NamedTuple):
  """What a line of metrics may show.

  Attributes:
    name: of the warning.
    advice: what it means and what to try, a line.
    lines: how many lines in a row must show it.
    figures: maps a line's metrics to the figures that show it, "" if they don't, None
      if the line doesn't say.
  """

  name: str
  advice: str
  lines: int
  figures: Callable[[Values], str | None]


class Watch:
  """Warns of symptoms that last; for the loop's `on_log`.

  Args:
    symptoms: what to look for.
    every: lines between two warnings of the same symptom, at least.
  """

  def __init__(self, symptoms: Sequence[Symptom], every: int = 50):
    self._symptoms, self._every = symptoms, every
    self._shown = [0] * len(symptoms)
    self._quiet = [0] * len(symptoms)

  def __call__(self, step: int, values: Values) -> None:
    """Takes a line of metrics."""
    for number, symptom in enumerate(self._symptoms):
      figures = symptom.figures(values)
      if figures is None:
        continue
      self._quiet[number] -= 1
      self._shown[number] = self._shown[number] + 1 if figures else 0
      if self._shown[number] >= symptom.lines and self._quiet[number] <= 0:
        self._quiet[number] = self._every
        logging.warning(
          "%s: step %d, %d lines of metrics in a row: %s. %s",
          *(symptom.name, step, self._shown[number], figures, symptom.advice),
        )


def codebook_collapse(codebook_size: int, lines: int = 10) -> Symptom:
  """A codebook of which a batch uses hardly any codes."""
  floor = max(_CODES, _PART * codebook_size)

  def figures(values):
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
  return Symptom("CodebookCollapse", advice, lines, figures)


def discriminator_wins(undecided: float, lines: int = 10) -> Symptom:
  """Discriminators that tell all real audio from all of the codec's.

  Args:
    undecided: their loss if they can't tell at all.
    lines: of metrics, in a row.
  """

  def figures(values):
    if not values.get("disc_grad_norm"):  # it isn't playing
      return None
    loss = values["disc"]
    low = loss < _WON * undecided
    return (
      f"its loss is {loss:.3g}, and {undecided:.3g} if it can't tell" if low else ""
    )

  advice = (
    "It tells every original from its reconstruction, and no longer says how to do"
    " better: lower disc_optimizer.learning_rate, or start it later"
    " (adversarial_start)"
  )
  return Symptom("DiscriminatorWins", advice, lines, figures)


def input_starved(lines: int = 3) -> Symptom:
  """Devices that wait for batches."""

  def figures(values):
    if "input_wait_fraction" not in values:
      return None
    share = values["input_wait_fraction"]
    return f"{share:.0%} of the time went by waiting for data" * (share > _STARVED)

  advice = (
    "The devices idle: put the data on a faster disk or in prepared shards, give the"
    " process more cores; data.source=synthetic shows the speed without them"
  )
  return Symptom("InputStarved", advice, lines, figures)
