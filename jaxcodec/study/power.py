"""How large a study would have to be to decide on what it leaves undecided."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.stats.bootstrap import Aligned
from jaxcodec.study.evidence import UNDECIDED, Evidence, groups_of_tokens

Judge = Callable[[Evidence], tuple[str, Any]]

SENTENCES, SEEDS, CODECS = "sentences", "seeds", "codecs"
_TIMES = (2, 4, 8)


class Need(NamedTuple):
  """What would decide: more than `above` of a unit, and at most `up_to`.

  Attributes:
    unit: `sentences`, `seeds` or `codecs`.
    now: as many as there are.
    above: so many are not enough.
    up_to: so many are; None if that is not known.
  """

  unit: str
  now: int
  above: int
  up_to: int | None


def needed(
  judge: Judge, evidence: Evidence, roles: Sequence[str] = (), unit: str = SENTENCES
) -> Need | None:
  """Returns how much larger an undecided study would have to be.

  The judge is given twice, four and eight times as much evidence, of copies of what
  there is: everything found stays as it is, but for the intervals. Where seeds vary too
  much for more sentences to decide, these are multiplied.

  Args:
    judge: of the finding; undecided on this evidence.
    evidence: of a language model.
    roles: the measures that it is about, whose sentences are counted; all if empty.
    unit: what to have more of, `sentences` or `codecs`.

  Returns:
    None where the study's parts can't show it however large it is, as with a single
    decoder what decoders do: no number of the judge's has an interval.
  """
  generation = {
    name: one for name, one in evidence.generation.items() if name in roles
  } or evidence.generation
  if not generation or not _has_interval(judge(evidence)[1]):
    return None
  counts = {
    SENTENCES: min(len(one.ids) for one in generation.values()),
    SEEDS: min(len(one.by_seed) for one in generation.values()),
    CODECS: len(groups_of_tokens([codec.name for codec in evidence.codecs])),
  }
  found = _search(judge, evidence, unit, counts[unit])
  if found.up_to is None and unit == SENTENCES and counts[SEEDS] > 1:
    return _search(judge, evidence, SEEDS, counts[SEEDS])
  return found


def _has_interval(numbers: Any) -> bool:
  if isinstance(numbers, Mapping):
    found = [numbers[name] for name in ("ci95", "ci") if name in numbers]
    if any(ci[0] is not None for ci in found):
      return True
    numbers = list(numbers.values())
  return isinstance(numbers, list) and any(map(_has_interval, numbers))


def _search(judge, evidence, unit, now):
  above = 1
  for times in _TIMES:
    grown = _map(evidence, lambda aligned, k=times: _GROW[unit](aligned, k))
    if unit == CODECS:
      grown = grown._replace(codecs=_copies(evidence.codecs, times))
    if judge(grown)[0] != UNDECIDED:
      return Need(unit, now, above * now, times * now)
    above = times
  return Need(unit, now, above * now, None)


def _copies(codecs, times):
  """Returns so many copies, each with tokens of its own."""
  return [
    codec._replace(name=f"{k}-{codec.name}") for k in range(times) for codec in codecs
  ]


def _map(evidence: Evidence, function: Callable[[Aligned], Aligned]) -> Evidence:
  generation = {name: function(one) for name, one in evidence.generation.items()}
  reconstruction = evidence.reconstruction and function(evidence.reconstruction)
  return evidence._replace(reconstruction=reconstruction, generation=generation)


def _more_sentences(aligned: Aligned, times: int) -> Aligned:
  rows = aligned.rows([*range(len(aligned.ids))] * times)
  ids = tuple(f"{copy}-{name}" for copy in range(times) for name in aligned.ids)
  return rows._replace(ids=ids, copies=times)


def _more_seeds(aligned: Aligned, times: int) -> Aligned:
  more = aligned.map(lambda array_UxM: times * array_UxM)
  return more._replace(by_seed=aligned.by_seed * times, seed_copies=times)


def _more_codecs(aligned: Aligned, times: int) -> Aligned:
  return aligned.map(lambda array_UxM: np.tile(array_UxM, (1, times)))


_GROW = {SENTENCES: _more_sentences, SEEDS: _more_seeds, CODECS: _more_codecs}
