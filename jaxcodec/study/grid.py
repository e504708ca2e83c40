"""The study's cells: the experiments that it consists of, and each one's command."""

import dataclasses
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

CODEC_STAGES = "codec,tokens"
SLM_STAGES = "slm,generate,evaluate,report"
# Fields that the grid sets for each cell.
_OWN = ("seed", "stages")


class StudyError(ValueError):
  """The study's config can't be used as it is."""


@dataclasses.dataclass(frozen=True)
class Cell:
  """One experiment: a codec with its tokens, or a language model on them.

  Attributes:
    name: of the cell and its folder.
    codec: name of the codec's preset.
    slm: the language model; None for a codec's cell.
    seed: of training, data split and generation.
    needs: name of the codec's cell that it builds on; None for a codec's cell.
    workdir: its work directory.
    config: file and argument of its config, as `--config` takes them.
    command: the arguments of the Python interpreter that run it.
  """

  name: str
  codec: str
  slm: str | None
  seed: int
  needs: str | None
  workdir: pathlib.Path
  config: str
  command: tuple[str, ...]


def plan(
  settings: Mapping[str, Any], workdir: pathlib.Path, program: str
) -> list[Cell]:
  """Returns the cells in an order in which they can run.

  Args:
    settings: the fields of configs/study.py, as plain data.
    workdir: the study's folder.
    program: the path of launch/main.py.

  Raises:
    StudyError: naming the field.
  """
  _check(settings)
  cells = []
  for seed in settings["seeds"]:
    for codec in settings["codecs"]:
      own = _cell(settings, workdir, program, codec, None, seed)
      users = [
        _cell(settings, workdir, program, codec, slm, seed) for slm in settings["slms"]
      ]
      cells += [own, *users]
  return cells


def _cell(settings, workdir, program, codec, slm, seed) -> Cell:
  folder = workdir / "cells"
  own = f"{codec}-s{seed}"
  name = f"{codec}-{slm}-s{seed}" if slm else own
  file = settings["slms"][slm or settings["codecs_of"]]
  config = f"{file}:{','.join(filter(None, (settings['arg'], f'codec={codec}')))}"
  command = [program, f"--config={config}", f"--workdir={folder / name}"]
  command += [f"--codec_from={folder / own}"] if slm else []
  command += [
    f"--config.stages={SLM_STAGES if slm else CODEC_STAGES}",
    f"--config.seed={seed}",
    *(f"--config.{override}" for override in overrides_of(settings, slm)),
  ]
  needs = own if slm else None
  return Cell(name, codec, slm, seed, needs, folder / name, config, tuple(command))


def _check(settings: Mapping[str, Any]) -> None:
  for field in ("codecs", "slms", "seeds"):
    values = list(settings[field])
    if not values or len(set(values)) != len(values):
      raise StudyError(f"{field}: expected one or more, each once, got {values}")
  if settings["codecs_of"] not in settings["slms"]:
    raise StudyError(
      f"codecs_of: {settings['codecs_of']!r} is none of slms, {list(settings['slms'])}"
    )
  if settings["listening"]["sentences"] < 0:
    raise StudyError("listening.sentences: expected 0 or more")
  for override in settings["overrides"]:
    slm, name, value = _parts(override)
    if value is None or name in _OWN or slm not in (None, *settings["slms"]):
      raise StudyError(
        f"overrides: expected name=value of a field other than {', '.join(_OWN)}, or"
        f" slm:name=value of one of {', '.join(settings['slms'])}, got {override!r}"
      )


def _parts(override: str) -> tuple[str | None, str, str | None]:
  """Splits `name=value` or `slm:name=value` into language model, field and value."""
  left, equals, value = override.partition("=")
  slm, colon, name = left.rpartition(":")
  return slm if colon else None, name, value if equals else None


def overrides_of(settings: Mapping[str, Any], slm: str | None) -> list[str]:
  """Returns a language model's overrides, or (None) the codecs', as `name=value`."""
  found = map(_parts, settings["overrides"])
  return [f"{name}={value}" for of, name, value in found if of in (None, slm)]


def as_lines(cells: Sequence[Cell], again: str) -> str:
  """Returns a shell command a cell, what it must wait for, and the one that collects.

  Args:
    cells: from `plan`.
    again: the command line that this study was started with.
  """
  lines = [
    f"python {shlex.join(cell.command)}  # {cell.name}"
    + (f", after {cell.needs}" if cell.needs else "")
    for cell in cells
  ]
  return "\n".join([*lines, f"{again} --collect  # after all of them"])
