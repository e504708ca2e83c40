"""Puts the results of a study's finished cells together into study.json."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jaxcodec
from jaxcodec import stages
from jaxcodec.study import findings, setting
from jaxcodec.study.conditions import Differences, compare
from jaxcodec.study.grid import Cell, StudyError, designs_of
from jaxcodec.study.relations import (
  attribute_measures,
  compare_codecs,
  correlate_measures,
  gather_evidence,
)
from jaxcodec.study.runner import DONE
from jaxcodec.study.summary import summarise
from jaxcodec.study.systems import (
  System,
  codec_parts,
  count_endings,
  read_slms,
  references_of_one,
  summarise_references,
  systems_to_compare,
  weights_of_metrics,
)
from jaxcodec.study.token_stats import read_records, token_statistics

MISSING = "missing"


def collect(
  settings: Mapping[str, Any],
  cells: Sequence[Cell],
  status: Mapping[str, Mapping[str, Any]],
  with_defaults: Callable[[dict[str, Any]], dict[str, Any]] = dict,
  sizes_of: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: {},
) -> dict[str, Any]:
  """Returns the content of study.json; cells that aren't done are named and left out.

  Args:
    settings: the study's config, as plain data.
    cells: from `grid.plan`.
    status: from `runner.run_cells`; may be empty, if another program ran the cells.
    with_defaults: `build.codec.with_defaults`, or another function that writes out what
      a config leaves to its parts' defaults before configs are compared.
    sizes_of: `build.sizes.part_sizes`, or another function of a config.

  Raises:
    StudyError: no cell with a language model is done, or finished cells differ in
      recordings, training or evaluation. Codecs that differ in more than their parts,
      as those of earlier revisions do, are named in `differences`.
  """
  states = {cell.name: _state(cell, status.get(cell.name)) for cell in cells}
  done = [cell for cell in cells if states[cell.name]["state"] == DONE]
  by_design = {d: read_slms(done, settings["slms"], d) for d in designs_of(settings)}
  designs = {design: slms for design, slms in by_design.items() if slms}
  if not designs:
    raise StudyError("no cell with a language model is done; see status.json")
  rows = {
    f"{codec}-{slm}-s{seed}": result
    for slms in designs.values()
    for slm, systems in slms.items()
    for codec, seeds in systems.items()
    for seed, result in seeds.items()
  }
  results, differences = list(rows.values()), _differences(rows, with_defaults)
  about = {name: m for r in results for name, m in r["metrics"].items()}
  (first, found), *others = (
    (name, _design(settings, slms, about, sizes_of)) for name, slms in designs.items()
  )
  return {
    "settings": dict(settings),
    "differences": differences._asdict(),
    "version": jaxcodec.__version__,
    "versions": dict(results[0]["versions"]),
    "models": weights_of_metrics(results),
    "cells": states,
    "measures": about,
    "tokens": _tokens(done),
    "tokens_training": _training_of_tokens(done),
    "design": first,
    **found,
    "other_designs": dict(others),
  }


def _design(
  settings: Mapping[str, Any],
  slms: Mapping[str, System],
  about: Mapping[str, Any],
  sizes_of: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
  """Returns what is measured and concluded of one design's systems."""
  seeds, of_some = _seeds(slms)
  codecs, slms = systems_to_compare(slms)
  configs = {c: next(iter(seeds.values()))["config"] for c, seeds in codecs.items()}
  return {
    "setting": setting.of_config(next(iter(configs.values()))),
    "seeds": seeds,
    "seeds_of_some": of_some,
    "codecs": {
      codec.name: {**codec._asdict(), "sizes": sizes_of(configs[codec.name])}
      for codec in codec_parts(codecs)
    },
    **_systems(codecs, slms),
    "comparisons": compare_codecs(codecs, slms, about),
    "correlations": correlate_measures(slms, about),
    "attribution": attribute_measures(codecs, slms, about),
    "findings": findings.judge_all(
      {slm: gather_evidence(settings, s, about) for slm, s in slms.items()}
    ),
  }


def _seeds(slms: Mapping[str, System]) -> tuple[list[int], list[int]]:
  """Returns the seeds that all systems have, and those that only some have."""
  seeds = [set(found) for systems in slms.values() for found in systems.values()]
  common = set.intersection(*seeds)
  return sorted(common), sorted(set.union(*seeds) - common)


def _differences(
  rows: Mapping[str, Mapping[str, Any]],
  with_defaults: Callable[[dict[str, Any]], dict[str, Any]],
) -> Differences:
  found = compare(
    {name: with_defaults(row["config"]) for name, row in rows.items()},
    {name: row["token_spec"] for name, row in rows.items()},
  )
  wrong = [*found.training, *_other_data(rows)]
  if wrong:
    raise StudyError("\n  ".join(["finished cells differ:", *wrong]))
  return found


def _other_data(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
  """Returns a line for cells whose recordings weren't those of others, if there are."""
  cells: dict[str, list[str]] = {}
  for name, row in rows.items():
    if "data_fingerprint" in row:  # which results of earlier versions lack
      cells.setdefault(row["data_fingerprint"], []).append(name)
  if len(cells) < 2:
    return []
  seen = "; ".join(f"{key} in {', '.join(names[:3])}" for key, names in cells.items())
  return [f"recordings, by their fingerprint: {seen}"]


def _systems(codecs: System, slms: Mapping[str, System]) -> dict[str, Any]:
  """Returns the measures of each system by itself."""
  generation = {
    slm: {codec: summarise(r, "generation") for codec, r in systems.items()}
    for slm, systems in slms.items()
  }
  ended = {
    slm: {codec: count_endings(by_seed) for codec, by_seed in systems.items()}
    for slm, systems in slms.items()
  }
  return {
    "reconstruction": {c: summarise(r, "reconstruction") for c, r in codecs.items()},
    "generation": generation,
    "endings": ended,
    "references": summarise_references(codecs),
    "reference_of": references_of_one(codecs),
    # Prompts differ between language models, and the originals' likeness to them.
    "originals": {
      slm: summarise(next(iter(systems.values())), "ground_truth")
      for slm, systems in slms.items()
    },
  }


def _state(cell: Cell, status: Mapping[str, Any] | None) -> dict[str, Any]:
  """Returns a cell's state: done if its last stage is and its last run didn't fail."""
  about = {"codec": cell.codec, "slm": cell.slm, "seed": cell.seed}
  command = " ".join(("python", *cell.command))
  if status and status["state"] != DONE:
    return {**about, **status, "command": command}
  if stages.load_stage(cell.workdir, cell.last) is not None:
    return {**about, **(status or {}), "state": DONE, "command": command}
  reason = f"its {cell.last} stage isn't complete in {cell.workdir}"
  return {**about, "state": MISSING, "reason": reason, "command": command}


def _training_of_tokens(done: Sequence[Cell]) -> dict[str, Any] | None:
  """Returns how the codecs were trained that made tokens, None if that isn't known."""
  for cell in done:
    if cell.last == "tokens" and (path := cell.workdir / "config.json").is_file():
      return setting.of_codec(json.loads(path.read_text())["config"])
  return None


def _tokens(done: Sequence[Cell]) -> dict[str, Any]:
  """Returns each codec's token statistics, of its lowest seed."""
  found: dict[str, Any] = {}
  for cell in sorted(done, key=lambda cell: cell.seed):
    if cell.last == "tokens" and cell.codec not in found:
      tokens = cell.workdir / "tokens"
      train, test = (
        read_records(tokens / f"{part}.array_record") for part in ("train", "test")
      )
      spec = json.loads((tokens / "spec.json").read_text())["token_spec"]
      statistics = token_statistics(train, test, spec["codebook_size"])
      found[cell.codec] = {"seed": cell.seed, **statistics}
  return found
