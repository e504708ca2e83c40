"""How systems and measures of a study stand to each other."""

import itertools
from collections.abc import Mapping
from typing import Any

from jaxcodec.stats.anova import attribution
from jaxcodec.stats.bootstrap import correlation
from jaxcodec.stats.significance import compare, holm
from jaxcodec.study.evidence import GENERATED, Evidence
from jaxcodec.study.measurements import directed, on_common
from jaxcodec.study.systems import System, aligned, measured, places

Slms = Mapping[str, System]
About = Mapping[str, Mapping[str, str]]


def _sets(codecs: System, slms: Slms):
  """(set, language model, systems): reconstruction by codec, generation by model."""
  yield "reconstruction", None, codecs
  for slm, systems in slms.items():
    yield "generation", slm, systems


def comparisons(codecs: System, slms: Slms, about: About) -> list[dict[str, Any]]:
  """Every pair of codecs by every measure, a's less b's, in the measure's own unit.

  `p_holm` adjusts `p_permutation` for the pairs of one measure.
  """
  rows = []
  for group, slm, systems in _sets(codecs, slms):
    pairs = list(itertools.combinations(enumerate(systems), 2))
    for metric, together in measured(systems, group, about):
      found = [
        {"set": group, "slm": slm, "measure": metric, "a": first, "b": second,
         **compare(together, a, b)}
        for (a, first), (b, second) in pairs
      ]  # fmt: skip
      adjusted = holm([row["p_permutation"] for row in found])
      rows += [{**row, "p_holm": p} for row, p in zip(found, adjusted, strict=True)]
  return rows


def attributions(codecs: System, slms: Slms, about: About) -> list[dict[str, Any]]:
  """What of every measure is due to the quantiser and to the decoder."""
  rows = []
  for group, slm, systems in _sets(codecs, slms):
    grid = places(systems)
    factors = [codec.quantizer for codec in grid], [codec.decoder for codec in grid]
    for metric, together in measured(systems, group, about):
      found = attribution(together, *factors)
      rows.append({"set": group, "slm": slm, "measure": metric, **found})
  return rows


def correlations(slms: Slms, about: About) -> list[dict[str, Any]]:
  """Every reconstruction measure with every generation measure, over codecs.

  Signs are such that higher is better in both: a positive correlation says that better
  reconstruction goes with better generation.
  """
  rows = []
  for slm, systems in slms.items():
    x = _means(systems, "reconstruction", about)
    y = _means(systems, "generation", about)
    for (first, x_M), (second, y_M) in itertools.product(x.items(), y.items()):
      found = {kind: correlation(x_M, y_M, kind) for kind in ("pearson", "spearman")}
      rows.append({"slm": slm, "reconstruction": first, "generation": second, **found})
  return rows


def _means(systems: System, group: str, about: About):
  return {
    metric: directed(together, about[metric]["better"]).means()
    for metric, together in measured(systems, group, about)
  }


def evidence(
  settings: Mapping[str, Any], systems: System, about: About
) -> Evidence | None:
  """What the findings are judged by; None if one of the measures is missing."""

  def role(name: str, group: str):
    metric = settings["measures"][name]
    if metric not in about or (found := aligned(systems, group, metric)) is None:
      return None
    return directed(found, about[metric]["better"])

  reconstruction = role("reconstruction", "reconstruction")
  generation = {name: role(name, "generation") for name in GENERATED}
  if reconstruction is None or None in generation.values():
    return None
  together = on_common(generation)
  if not next(iter(together.values())).ids:
    return None
  return Evidence(places(systems), reconstruction, together, settings["margins"])
