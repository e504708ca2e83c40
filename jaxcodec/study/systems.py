"""The systems of a study: their results, their parts, and measures of all of them."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jaxcodec.evals.results import read_results
from jaxcodec.stats.bootstrap import Aligned
from jaxcodec.study.evidence import CodecParts
from jaxcodec.study.grid import Cell, StudyError
from jaxcodec.study.measurements import align, is_of_the_set, measurement
from jaxcodec.study.summary import summarise

# By codec, contents of results.json by seed.
System = dict[str, dict[int, dict[str, Any]]]
# Sets that are the same whatever the system.
REFERENCES = ("ground_truth", "opus", "opus_double")


def read_slms(done: Sequence[Cell], slms: Iterable[str]) -> dict[str, System]:
  """By language model, its systems' results; those without any are left out.

  Raises:
    StudyError: there are none at all, or a cell lacks its file.
  """
  found = {slm: _read_systems(done, slm) for slm in slms}
  if not any(found.values()):
    raise StudyError("no cell with a language model is done; see status.json")
  return {slm: systems for slm, systems in found.items() if systems}


def _read_systems(done: Sequence[Cell], slm: str) -> System:
  found: System = {}
  for cell in done:
    if cell.slm == slm:
      found.setdefault(cell.codec, {})[cell.seed] = _results(cell.workdir)
  return found


def _results(workdir: pathlib.Path) -> dict[str, Any]:
  """The stage's own results.json, or the copy at the top that is easily passed on."""
  for path in (workdir / "evaluate" / "results.json", workdir / "results.json"):
    if path.is_file():
      try:
        return read_results(path)
      except ValueError as error:
        raise StudyError(f"{path}: not JSON: {error}") from error
  raise StudyError(f"{workdir}: there is no results.json")


def endings(results: Mapping[int, Mapping[str, Any]]) -> dict[str, int]:
  """How many generations ended by themselves, were cut, and came to nothing."""
  found = [result["endings"] for result in results.values()]
  return {name: sum(one[name] for one in found) for name in found[0]}


def reconstructing(slms: Mapping[str, System], order: Sequence[str]) -> System:
  """Each codec's results by seed, from the first language model that has them."""
  codecs: System = {}
  for name in order:
    for systems in reversed(slms.values()):
      codecs.setdefault(name, {}).update(systems.get(name, {}))
  return {name: by_seed for name, by_seed in codecs.items() if by_seed}


def places(codecs: System) -> list[CodecParts]:
  """Where each codec stands in the grid of quantisers and decoders."""
  found = []
  for name, by_seed in codecs.items():
    config = next(iter(by_seed.values()))["config"]["codec"]
    decoder = config["decoder"]["name"]
    if config["decoder"].get("lstm_layers"):
      decoder += "_lstm"
    quantizer = config["quantizer"]["name"].removesuffix("_rvq")
    found.append(CodecParts(name, quantizer, decoder))
  return found


def models(results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
  """sha256 of what measured, which must be the same in all cells."""
  own = ("codec", "slm")
  found: dict[str, str] = {}
  for result in results:
    for name, digest in result["models"].items():
      if name not in own and found.setdefault(name, digest) != digest:
        raise StudyError(f"cells were measured by different weights of {name!r}")
  return dict(sorted(found.items()))


def references(codecs: System) -> dict[str, Any]:
  """The rows that no system changes, of the first codec."""
  first = next(iter(codecs.values()))
  found = {group: summarise(first, group) for group in REFERENCES}
  return {group: measures for group, measures in found.items() if measures}


def aligned(systems: System, group: str, metric: str) -> Aligned | None:
  """A measure of all systems; None if one lacks it or they share no utterance."""
  if any(is_of_the_set(by_seed, metric) for by_seed in systems.values()):
    return None
  found = [measurement(by_seed, group, metric) for by_seed in systems.values()]
  together = align(found)
  return together if together.ids else None


def measured(
  systems: System, group: str, about: Mapping[str, Any]
) -> Iterator[tuple[str, Aligned]]:
  """(metric, its values) of a set, of the metrics that say what is better."""
  first = next(iter(next(iter(systems.values())).values()))
  for metric in first[group]:
    if about[metric]["better"] and (found := aligned(systems, group, metric)):
      yield metric, found
