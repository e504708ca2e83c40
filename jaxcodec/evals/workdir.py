"""Reads what the stages of an experiment left in its work directory."""

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
  """One row of the listening section.

  Attributes:
    id: utterance id.
    rows: its rows of results.json by evaluation set.
    sounds: audio files by kind, from SET_OF_KIND; only those that exist.
    generation: its line of generate/index.jsonl, {} if it was not generated.
  """

  id: str
  rows: dict[str, dict[str, Any]]
  sounds: dict[str, pathlib.Path]
  generation: dict[str, Any]

  @property
  def about(self) -> dict[str, Any]:
    """Any row that has the id, the speaker and the text."""
    return next(iter(self.rows.values()), self.generation)


class WorkdirContents(NamedTuple):
  """What the report is made of.

  Attributes:
    name: of the work directory.
    record: config.json.
    results: results.json.
    curves: by stage, by metric name: steps (P,) and values (P,) or (P, codebooks).
    utterances: those with audio, generated ones first.
  """

  name: str
  record: dict[str, Any]
  results: dict[str, Any]
  curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]
  utterances: list[UtteranceResults]


def read_workdir(workdir: pathlib.Path) -> WorkdirContents:
  """Reads a work directory; config.json and results.json must be there."""
  results = _read_json(workdir / "results.json")
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
  )


def read_curves(path: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Steps and values of every metric in a metrics.jsonl; {} if there is no file.

  Lines repeat steps after a run was interrupted and resumed; the last one counts.
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
  """Generated utterances in the index's order, then the other measured ones."""
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
  """The paths that an utterance's rows give, by kind."""
  return {
    kind: path for row in by_set.values() for kind, path in row.get("wavs", {}).items()
  }


def _unrecorded_wavs(utterance_id: str) -> dict[str, str]:
  """Where an utterance's sounds are if its rows, of an earlier revision, don't say."""
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
  """Objects of a JSON lines file, in order; none if there is no file."""
  if not path.is_file():
    return []
  lines = []
  for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
    try:
      lines.append(json.loads(line))
    except json.JSONDecodeError as error:
      raise ValueError(f"{path}:{number}: not JSON: {error}") from error
  return lines
