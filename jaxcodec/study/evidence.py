"""What a finding is judged by, and the verdicts that an interval allows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jaxcodec.stats.bootstrap import Aligned

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
GENERATED = ("naturalness", "intelligibility", "speaker")


class CodecParts(NamedTuple):
  """A system's place in the grid."""

  name: str
  quantizer: str
  decoder: str


class Evidence(NamedTuple):
  """What the systems with one language model measured; higher is better in all of it.

  Attributes:
    codecs: the systems.
    reconstruction: how well the codecs reconstruct.
    generation: by name from GENERATED, on the same utterances.
    margins: by the same names, differences that don't matter.
  """

  codecs: Sequence[CodecParts]
  reconstruction: Aligned
  generation: Mapping[str, Aligned]
  margins: Mapping[str, float]


def unanimous(verdicts: Iterable[str]) -> str:
  """The verdict that all share, else `undecided`."""
  kinds = set(verdicts)
  return kinds.pop() if len(kinds) == 1 else UNDECIDED


def clear_sign(ci: Sequence[float | None]) -> int:
  """1 or -1 if the whole interval is of that sign, else 0."""
  low, high = ci
  if low is None or low <= 0 <= high:
    return 0
  return 1 if low > 0 else -1


def within(ci: Sequence[float | None], margin: float) -> str:
  """Whether an interval is inside of plus and minus a margin, or all outside."""
  low, high = ci
  if low is None:
    return UNDECIDED
  if -margin < low and high < margin:
    return SUPPORTED
  return CONTRADICTED if low > margin or high < -margin else UNDECIDED
