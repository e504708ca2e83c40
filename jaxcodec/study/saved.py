"""Loads a finished study from its folder, with the rows behind its numbers."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcodec.stats.bootstrap import Aligned
from jaxcodec.study import grid, systems
from jaxcodec.study.grid import Cell, StudyError
from jaxcodec.study.runner import DONE
from jaxcodec.study.sentences import Sentence, read_sentences

FILE = "study.json"
_FIELDS = ("settings", "cells", "comparisons")
_SETTINGS = ("codecs", "codecs_of", "slms", "seeds", "arg", "overrides", "listening")


class SavedStudy(NamedTuple):
  """Holds what `launch/study.py` wrote to a folder.

  Attributes:
    folder: of the study.
    numbers: the content of study.json.
    cells: those that are done.
    codecs: by codec and seed that all have, a results.json with the reconstruction.
    slms: by language model, codec and seed that all have, the results.json.
  """

  folder: pathlib.Path
  numbers: dict[str, Any]
  cells: list[Cell]
  codecs: systems.System
  slms: Mapping[str, systems.System]

  def aligned(self, measure: str, slm: str | None = None) -> Aligned:
    """Returns all codecs' values of a measure, on utterances where all have one.

    Columns are in the order of `codecs`, or of `slms[slm]`.

    Args:
      measure: its name in results.json.
      slm: the language model; None for reconstruction.

    Raises:
      StudyError: there is no such language model, or there are no such values.
    """
    if slm is not None and slm not in self.slms:
      raise StudyError(f"slm: {slm!r} is none of {list(self.slms)}")
    group = "generation" if slm else "reconstruction"
    together = systems.align_measure(
      self.slms[slm] if slm else self.codecs, group, measure
    )
    if together is None:
      raise StudyError(f"measure: no utterance has {group}.{measure} of every codec")
    return together

  def comparison(self, measure: str, a: str, b: str, slm: str | None = None) -> dict:
    """Returns study.json's comparison of codec a with codec b.

    Args:
      measure, slm: see `aligned`.
      a, b: codecs, in the study's order.

    Raises:
      StudyError: there is no such comparison.
    """
    wanted = {"slm": slm, "measure": measure, "a": a, "b": b}
    for row in self.numbers["comparisons"]:
      if wanted.items() <= row.items():
        return row
    raise StudyError(f"{self.folder}/{FILE}: there is no comparison {wanted}")

  def sentences(self) -> list[Sentence]:
    """Returns the sentences whose sound files are in the folder; [] without any."""
    cells = [c for c in self.cells if c.design and (c.workdir / "generate").is_dir()]
    return read_sentences(cells) if cells else []


def load(folder: str | os.PathLike, design: str | None = None) -> SavedStudy:
  """Reads study.json and the results.json of each finished cell.

  The folder may have been moved, and files other than these removed.

  Args:
    folder: of the study.
    design: "joint" or "frozen" of a study with both; the first one if None.

  Raises:
    StudyError: a file is missing or isn't a study's, or has no such design; names it.
  """
  folder = pathlib.Path(folder)
  numbers = read_numbers(folder / FILE)
  first = numbers.get("design", grid.JOINT)  # earlier revisions had one design
  others = numbers.get("other_designs", {})
  if design not in (None, first, *others):
    raise StudyError(f"design: {design!r} is none of {[first, *others]}")
  numbers = {**numbers, **others.get(design, {})}
  planned = grid.plan(numbers["settings"], folder, "launch/main.py")
  done = [c for c in planned if numbers["cells"].get(c.name, {}).get("state") == DONE]
  slms = systems.read_slms(done, numbers["settings"]["slms"], design or first)
  if not slms:
    raise StudyError(f"{folder}: no cell of the design {design or first!r} is done")
  codecs, slms = systems.systems_to_compare(slms)
  return SavedStudy(folder, numbers, done, codecs, slms)


def read_numbers(path: pathlib.Path) -> dict[str, Any]:
  """Returns the content of a study.json; raises StudyError if it isn't one."""
  try:
    numbers = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    raise StudyError(f"{path}: no such file; launch/study.py writes it") from error
  except ValueError as error:
    raise StudyError(f"{path}: not JSON: {error}") from error
  missing = _missing(_FIELDS, numbers)
  missing = missing or [
    f"settings.{s}" for s in _missing(_SETTINGS, numbers["settings"])
  ]
  if missing:
    raise StudyError(
      f"{path}: not a study of this version, it has no {', '.join(missing)};"
      " launch/study.py --collect writes it anew"
    )
  return numbers


def _missing(fields, of):
  return [f for f in fields if not isinstance(of, dict) or f not in of]
