"""The systems of a study: their results, parts and measures."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jaxcodec.evals.results import REFERENCE_CODECS, read_results
from jaxcodec.stats.bootstrap import Aligned
from jaxcodec.study.evidence import CodecParts, decoder_kind, quantizer_kind
from jaxcodec.study.grid import Cell, StudyError
from jaxcodec.study.measurements import align, is_of_the_set, measurement
from jaxcodec.study.summary import summarise

# Contents of results.json, by codec and seed.
System = dict[str, dict[int, dict[str, Any]]]
# Sets that don't depend on the system.
REFERENCES = ("ground_truth", *REFERENCE_CODECS)


def read_slms(
  done: Sequence[Cell], slms: Iterable[str], design: str
) -> dict[str, System]:
  """Reads a design's results by language model, without those that have none.

  Raises:
    StudyError: a cell's file is missing.
  """
  cells = [cell for cell in done if cell.design == design]
  found = {slm: _read_systems(cells, slm) for slm in slms}
  return {slm: systems for slm, systems in found.items() if systems}


def _read_systems(cells: Sequence[Cell], slm: str) -> System:
  found: System = {}
  for cell in cells:
    if cell.slm == slm:
      found.setdefault(cell.codec, {})[cell.seed] = _results(cell.workdir)
  return found


def _results(workdir: pathlib.Path) -> dict[str, Any]:
  """Reads the evaluate stage's results.json, or else the copy beside the stages."""
  for path in (workdir / "evaluate" / "results.json", workdir / "results.json"):
    if path.is_file():
      try:
        return read_results(path)
      except ValueError as error:
        raise StudyError(f"{path}: not JSON: {error}") from error
  raise StudyError(f"{workdir}: there is no results.json")


def count_endings(results: Mapping[int, Mapping[str, Any]]) -> dict[str, int]:
  """Counts the generations that ended by themselves, were cut, and were empty."""
  found = [result["endings"] for result in results.values()]
  return {name: sum(one[name] for one in found) for name in found[0]}


def results_of_codecs(slms: Mapping[str, System]) -> System:
  """Returns each codec's results by seed, of the first language model that has them."""
  codecs: System = {}
  for systems in reversed(slms.values()):
    for name, by_seed in systems.items():
      codecs.setdefault(name, {}).update(by_seed)
  order = list(dict.fromkeys(name for systems in slms.values() for name in systems))
  return {name: codecs[name] for name in order}


def systems_to_compare(slms: Mapping[str, System]) -> tuple[System, dict[str, System]]:
  """Returns the codecs, and each language model's systems, by seeds that all have.

  A mean over other trainings, or over other sentences, doesn't compare.

  Raises:
    StudyError: the codecs, or a language model's systems, have no seed in common.
  """
  codecs = _of_common_seeds("codecs", results_of_codecs(slms))
  return codecs, {slm: _of_common_seeds(slm, found) for slm, found in slms.items()}


def _of_common_seeds(name: str, systems: System) -> System:
  common = set.intersection(*map(set, systems.values()))
  if not common:
    found = "; ".join(f"{codec} {sorted(one)}" for codec, one in systems.items())
    raise StudyError(f"{name}: no seed is finished of all systems: {found}")
  return {c: {seed: one[seed] for seed in sorted(common)} for c, one in systems.items()}


def codec_parts(codecs: System) -> list[CodecParts]:
  """Returns each codec's parts."""
  found = []
  for name, by_seed in codecs.items():
    codec = next(iter(by_seed.values()))["config"]["codec"]
    found.append(CodecParts(name, quantizer_kind(codec), decoder_kind(codec)))
  return found


def weights_of_metrics(results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
  """Returns the metrics' models by name, as sha256 of their weights.

  Raises:
    StudyError: cells were measured by different weights.
  """
  own = ("codec", "slm")
  found: dict[str, str] = {}
  for result in results:
    for name, digest in result["models"].items():
      if name not in own and found.setdefault(name, digest) != digest:
        raise StudyError(f"cells were measured by different weights of {name!r}")
  return dict(sorted(found.items()))


def summarise_references(codecs: System) -> dict[str, Any]:
  """Returns the measures of the first codec's sets of originals and other codecs."""
  first = next(iter(codecs.values()))
  found = {group: summarise(first, group) for group in REFERENCES}
  return {group: measures for group, measures in found.items() if measures}


def references_of_one(codecs: System) -> dict[str, str]:
  """Returns the first codec by each set that other codecs have otherwise.

  Opus and MDCT frames follow a codec's rate, so that codecs of several rates have
  several.
  """
  (first, found), *others = codecs.items()
  return {
    group: first
    for group in REFERENCE_CODECS
    if (own := summarise(found, group))
    and any(summarise(one, group) not in ({}, own) for _, one in others)
  }


def align_measure(systems: System, group: str, metric: str) -> Aligned | None:
  """Returns a measure of all systems; None if they share no utterance that has it."""
  if any(is_of_the_set(by_seed, metric) for by_seed in systems.values()):
    return None
  found = [measurement(by_seed, group, metric) for by_seed in systems.values()]
  together = align(found)
  return together if together.ids else None


def align_measures(
  systems: System, group: str, about: Mapping[str, Any]
) -> Iterator[tuple[str, Aligned]]:
  """Yields (metric, values) of a set's metrics for which higher or lower is better."""
  first = next(iter(next(iter(systems.values())).values()))
  for metric in first[group]:
    if about[metric]["better"] and (found := align_measure(systems, group, metric)):
      yield metric, found
