"""Reads what the stages of an experiment wrote to its work directory."""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

# The kinds of audio files, and the set of results.json that measures each.
SET_OF_KIND = {
  "original": "ground_truth",
  "reconstruction": "reconstruction",
  "generated": "generation",
}


class UtteranceResults(NamedTuple):
  """An utterance's measures and sound files.

  Attributes:
    id: the utterance's id.
    rows: its rows of results.json, by set.
    sounds: its sound files by a kind of SET_OF_KIND; only those that exist.
    generation: its line of generate/index.jsonl, {} if it was not generated.
  """

  id: str
  rows: dict[str, dict[str, Any]]
  sounds: dict[str, pathlib.Path]
  generation: dict[str, Any]

  @property
  def about(self) -> dict[str, Any]:
    """A row with the utterance's id, speaker and text."""
    return next(iter(self.rows.values()), self.generation)


class WorkdirContents(NamedTuple):
  """Holds what a report is made of.

  Attributes:
    name: of the work directory.
    record: the content of config.json.
    results: the content of results.json.
    curves: by stage and metric name, steps (P,) and values (P,) or (P, K).
    utterances: those with sound files, generated ones first.
    alignment: the content of generate/alignment.json, {} if there is none.
  """

  name: str
  record: dict[str, Any]
  results: dict[str, Any]
  curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]
  utterances: list[UtteranceResults]
  alignment: dict[str, Any]


def read_workdir(workdir: pathlib.Path) -> WorkdirContents:
  """Reads a work directory.

  Raises:
    FileNotFoundError: config.json or results.json is missing.
    ValueError: a file is malformed; names it.
  """
  results = _read_json(workdir / "results.json")
  path = workdir / "generate" / "alignment.json"
  curves = {
    stage: curve
    for stage in ("codec", "slm")
    if (curve := read_curves(workdir / stage / "metrics.jsonl"))
  }
  return WorkdirContents(
    workdir.resolve().name,
    _read_json(workdir / "config.json"),
    results,
    curves,
    _utterances(workdir, results),
    _read_json(path) if path.is_file() else {},
  )


def read_curves(path: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Reads the steps and values of every metric in a metrics.jsonl; {} without a file.

  A run that was interrupted and resumed may repeat steps; their last line counts.
  """
  points: dict[str, dict[int, Any]] = {}
  for line in _read_lines(path):
    for name, value in line.items():
      if name not in ("step", "time"):
        points.setdefault(name, {})[line["step"]] = value
  return {
    name: (np.array(sorted(at)), np.array([at[step] for step in sorted(at)], float))
    for name, at in points.items()
  }


def _utterances(
  workdir: pathlib.Path, results: dict[str, Any]
) -> list[UtteranceResults]:
  """Returns generated utterances in the index's order, then the other measured ones."""
  generated = {
    line["id"]: line for line in _read_lines(workdir / "generate" / "index.jsonl")
  }
  rows: dict[str, dict[str, Any]] = {name: {} for name in generated}
  for row in results["utterances"]:
    rows.setdefault(row["id"], {})[row["set"]] = row
  found = []
  for name, by_set in rows.items():
    line = generated.get(name, {})
    paths = _recorded_wavs(by_set) or _unrecorded_wavs(name)
    if line.get("wav"):
      paths["generated"] = f"generate/{line['wav']}"
    sounds = {
      kind: workdir / paths[kind]
      for kind in SET_OF_KIND
      if kind in paths and (workdir / paths[kind]).is_file()
    }
    if sounds:
      found.append(UtteranceResults(name, by_set, sounds, line))
  return found


def _recorded_wavs(by_set: dict[str, dict[str, Any]]) -> dict[str, str]:
  """Returns the paths in an utterance's rows, by kind."""
  return {
    kind: path for row in by_set.values() for kind, path in row.get("wavs", {}).items()
  }


def _unrecorded_wavs(utterance_id: str) -> dict[str, str]:
  """Returns the paths that earlier revisions used, which didn't record them."""
  name = utterance_id.replace("/", "_").replace("\\", "_")
  return {
    kind: f"evaluate/audio/{name}.{kind}.wav" for kind in ("original", "reconstruction")
  }


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except json.JSONDecodeError as error:
    raise ValueError(f"{path}: not JSON: {error}") from error


def _read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the objects of a JSON lines file, in order; none without a file."""
  if not path.is_file():
    return []
  lines = []
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    try:
      lines.append(json.loads(line))
    except json.JSONDecodeError as error:
      raise ValueError(f"{path}:{number}: not JSON: {error}") from error
  return lines
