"""The data that findings are judged by, and verdicts from intervals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.stats.bootstrap import Aligned

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
_CODEBOOKS = 8
GENERATED = ("naturalness", "intelligibility", "speaker")


class CodecParts(NamedTuple):
  """The parts of a codec, its place in the study's grid."""

  name: str
  quantizer: str
  decoder: str


def level_of_tokens(codec: CodecParts) -> str:
  """Returns what tells a system's tokens from others': its quantiser.

  In the frozen design it is the codec whose tokens are spoken, as those of two codecs
  differ whatever their quantisers.
  """
  tokens, frozen, _ = codec.name.partition("+")
  return tokens if frozen else codec.quantizer


def by_tokens(names: Sequence[str], values_M: np.ndarray) -> np.ndarray:
  """Returns the means of values over the systems with the same tokens, in order.

  Decoders of the same tokens share a training and a generation, so that they are no
  independent points.

  Args:
    names: of the systems, `CODEC` or `CODEC+DECODER`.
    values_M: one value, or row of values, a system.
  """
  return np.stack([values_M[group].mean(0) for group in groups_of_tokens(names)])


def groups_of_tokens(names: Sequence[str]) -> list[list[int]]:
  """Returns the indices of systems by the codec that their tokens are of."""
  found: dict[str, list[int]] = {}
  for index, name in enumerate(names):
    found.setdefault(name.partition("+")[0], []).append(index)
  return list(found.values())


class Evidence(NamedTuple):
  """The measures of the systems with one language model; higher is always better.

  Attributes:
    codecs: the systems' codecs.
    reconstruction: of the codecs; None if it is missing.
    generation: by a name from GENERATED, but for those that are missing.
    margins: by the same names, the differences below which systems count as equal.
  """

  codecs: Sequence[CodecParts]
  reconstruction: Aligned | None
  generation: Mapping[str, Aligned]
  margins: Mapping[str, float]


def quantizer_kind(codec: Mapping[str, Any]) -> str:
  """Returns the quantiser's name in tables, of a codec's config.

  One with another number of codebooks than the study's eight, as codecs of other frame
  rates have, is another quantiser: `ema_16`.
  """
  name = codec["quantizer"]["name"].removesuffix("_rvq")
  books = codec["quantizer"].get("num_codebooks", _CODEBOOKS)
  return name if books == _CODEBOOKS else f"{name}_{books}"


def decoder_kind(codec: Mapping[str, Any]) -> str:
  """Returns the decoder's name in tables, of a codec's config."""
  decoder = codec["decoder"]
  lstm = "_lstm" if decoder.get("lstm_layers") else ""
  noncausal = decoder["name"] == "seanet" and not decoder.get("causal", True)
  return decoder["name"] + lstm + ("_noncausal" if noncausal else "")


def unanimous(verdicts: Iterable[str]) -> str:
  """Returns the verdict if there is only one, else `undecided`."""
  kinds = set(verdicts)
  return kinds.pop() if len(kinds) == 1 else UNDECIDED


def clear_sign(ci: Sequence[float | None]) -> int:
  """Returns 1 or -1 if the whole interval has that sign, else 0."""
  low, high = ci
  if low is None or low <= 0 <= high:
    return 0
  return 1 if low > 0 else -1


def within(ci: Sequence[float | None], margin: float) -> str:
  """Returns `supported` if an interval is within +-margin, `contradicted` if outside.

  One that is partly inside, or has no bounds, is `undecided`.
  """
  low, high = ci
  if low is None:
    return UNDECIDED
  if -margin < low and high < margin:
    return SUPPORTED
  return CONTRADICTED if low > margin or high < -margin else UNDECIDED
