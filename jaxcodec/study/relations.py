"""Compares a study's systems with each other, and its measures."""

import itertools
from collections.abc import Mapping
from typing import Any

from jaxcodec.stats.anova import attribution
from jaxcodec.stats.bootstrap import correlation
from jaxcodec.stats.significance import compare, holm
from jaxcodec.study.evidence import (
  GENERATED,
  Evidence,
  by_tokens,
  groups_of_tokens,
  level_of_tokens,
)
from jaxcodec.study.measurements import directed
from jaxcodec.study.systems import System, align_measure, align_measures, codec_parts

Slms = Mapping[str, System]
About = Mapping[str, Mapping[str, str]]


def _sets(codecs: System, slms: Slms):
  """Yields (set, language model, systems): reconstruction, then each generation."""
  yield "reconstruction", None, codecs
  for slm, systems in slms.items():
    yield "generation", slm, systems


def compare_codecs(codecs: System, slms: Slms, about: About) -> list[dict[str, Any]]:
  """Compares every pair of codecs by every measure: a's less b's, in its own unit.

  `p_holm` is `p_permutation`, adjusted for the pairs of one measure.
  """
  rows = []
  for group, slm, systems in _sets(codecs, slms):
    pairs = list(itertools.combinations(enumerate(systems), 2))
    for metric, together in align_measures(systems, group, about):
      found = [
        {"set": group, "slm": slm, "measure": metric, "a": first, "b": second,
         **compare(together, a, b)}
        for (a, first), (b, second) in pairs
      ]  # fmt: skip
      adjusted = holm([row["p_permutation"] for row in found])
      rows += [{**row, "p_holm": p} for row, p in zip(found, adjusted, strict=True)]
  return rows


def attribute_measures(
  codecs: System, slms: Slms, about: About
) -> list[dict[str, Any]]:
  """Returns how much of every measure is due to quantiser and decoder."""
  rows = []
  for group, slm, systems in _sets(codecs, slms):
    grid = codec_parts(systems)
    factors = [*map(level_of_tokens, grid)], [codec.decoder for codec in grid]
    shared = len(groups_of_tokens([*systems])) < len(systems)
    for metric, together in align_measures(systems, group, about):
      found = attribution(together, *factors, shared=shared)
      rows.append({"set": group, "slm": slm, "measure": metric, **found})
  return rows


def correlate_measures(slms: Slms, about: About) -> list[dict[str, Any]]:
  """Correlates every reconstruction measure with every generation measure, over codecs.

  Measures are signed such that higher is better: in a positive correlation, better
  reconstruction goes with better generation. Decoders of the same tokens are one
  point, of their means.
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
    metric: by_tokens([*systems], directed(together, about[metric]["better"]).means())
    for metric, together in align_measures(systems, group, about)
  }


def gather_evidence(
  settings: Mapping[str, Any], systems: System, about: About
) -> Evidence | None:
  """Returns what findings are judged by, each measure on the utterances that have it.

  None if nothing of it was measured.
  """

  def role(name: str, group: str):
    metric = settings["measures"][name]
    if metric not in about or (found := align_measure(systems, group, metric)) is None:
      return None
    return directed(found, about[metric]["better"])

  reconstruction = role("reconstruction", "reconstruction")
  generation = {name: role(name, "generation") for name in GENERATED}
  found = {name: one for name, one in generation.items() if one is not None}
  if reconstruction is None and not found:
    return None
  return Evidence(codec_parts(systems), reconstruction, found, settings["margins"])
