"""The study's cells: the experiments that it consists of, and each one's command."""

import dataclasses
import functools
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

CODEC_STAGES = "codec,tokens"
SLM_STAGES = "slm,generate,evaluate,report"
# How codecs are trained: each whole, with its tokens, as in the paper; or decoders for
# the tokens of codecs that are done.
JOINT, FROZEN = "joint", "frozen"
DESIGNS = {JOINT: (JOINT,), FROZEN: (FROZEN,), "both": (JOINT, FROZEN)}
_FREEZE = 'codec_train.freeze=("encoder","quantizer")'
# Whose overrides are of the frozen design's decoders: `decoders:codec_train.steps=9`.
_DECODERS = "decoders"
# Fields that the grid sets for each cell.
_OWN = ("seed", "stages")


class StudyError(ValueError):
  """The study's config can't be used as it is."""


@dataclasses.dataclass(frozen=True)
class Cell:
  """One experiment: a codec with its tokens, a decoder, or a language model.

  Attributes:
    name: of the cell and its folder.
    codec: name of the codec's preset.
    slm: the language model; None for a codec's cell.
    seed: of training, data split and generation.
    needs: names of the cells that it builds on.
    workdir: its work directory.
    config: file and argument of its config, as `--config` takes them.
    command: the arguments of the Python interpreter that run it.
    overrides: of its config, `name=value`.
    last: its last stage that others or the report need.
    design: that its results belong to; None if it has none.
  """

  name: str
  codec: str
  slm: str | None
  seed: int
  needs: tuple[str, ...]
  workdir: pathlib.Path
  config: str
  command: tuple[str, ...]
  overrides: tuple[str, ...] = ()
  last: str = "evaluate"
  design: str | None = JOINT


def designs_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
  """Returns the designs of a study; those of earlier revisions are joint."""
  return DESIGNS[settings.get("design", JOINT)]


def with_seeds(settings: Mapping[str, Any], added: Sequence[str]) -> dict[str, Any]:
  """Returns a study's settings with more seeds; those that are there stay.

  Raises:
    StudyError: one is no integer.
  """
  if wrong := [seed for seed in added if not seed.strip().isdecimal()]:
    raise StudyError(f"add_seeds: expected integers, got {wrong[0]!r}")
  seeds = dict.fromkeys([*settings["seeds"], *map(int, added)])
  return {**settings, "seeds": list(seeds)}


def plan(
  settings: Mapping[str, Any], workdir: pathlib.Path, program: str
) -> list[Cell]:
  """Returns the cells in an order in which they can run.

  In the frozen design a language model is trained once for each set of tokens and
  generates once, and every decoder of these tokens speaks the same codes.

  Args:
    settings: the fields of configs/study.py, as plain data.
    workdir: the study's folder.
    program: the path of launch/main.py.

  Raises:
    StudyError: naming the field.
  """
  _check(settings)
  make = functools.partial(_cell, settings, workdir, program)
  designs, cells = designs_of(settings), {}
  for seed in settings["seeds"]:
    found = _joint_cells(settings, make, seed) if JOINT in designs else []
    if FROZEN in designs:
      found += _frozen_cells(settings, make, seed)
    for cell in found:
      cells.setdefault(cell.name, cell)
  return list(cells.values())


def _joint_cells(settings, make, seed) -> list[Cell]:
  cells = []
  for codec in settings["codecs"]:
    cells.append(_codec_cell(make, codec, seed))
    for slm in settings["slms"]:
      link = {"codec_from": f"{codec}-s{seed}"}
      cells.append(make(f"{codec}-{slm}-s{seed}", codec, slm, seed, link=link))
  return cells


def _codec_cell(make, codec, seed) -> Cell:
  stages = dict(stages=CODEC_STAGES, last="tokens", design=None)
  return make(f"{codec}-s{seed}", codec, None, seed, **stages)


def _frozen_cells(settings, make, seed) -> list[Cell]:
  cells = []
  for tokens in settings["frozen"]["tokens"]:
    source = f"{tokens}-s{seed}"
    cells.append(_codec_cell(make, tokens, seed))
    for slm in settings["slms"]:
      generates = dict(stages="slm,generate", last="generate", design=None)
      link = {"codec_from": source}
      cells.append(
        make(f"{tokens}-{slm}-s{seed}", tokens, slm, seed, link=link, **generates)
      )
    for decoder in settings["frozen"]["decoders"]:
      codec = f"{tokens}+{decoder}"
      trains = dict(stages="codec", last="codec", design=None, keeps=source)
      link = {"tokens_from": source}
      cells.append(make(f"{codec}-s{seed}", codec, None, seed, link=link, **trains))
      for slm in settings["slms"]:
        link = {"codec_from": f"{codec}-s{seed}", "slm_from": f"{tokens}-{slm}-s{seed}"}
        speaks = dict(stages="generate,evaluate,report", design=FROZEN, keeps=source)
        name = f"{codec}-{slm}-s{seed}"
        cells.append(make(name, codec, slm, seed, link=link, **speaks))
  return cells


def _cell(
  settings,
  workdir,
  program,
  name,
  codec,
  slm,
  seed,
  *,
  link: Mapping[str, str] | None = None,
  stages: str = SLM_STAGES,
  last: str = "evaluate",
  design: str | None = JOINT,
  keeps: str | None = None,
) -> Cell:
  """Makes a cell.

  Args:
    settings, workdir, program: see `plan`.
    name, codec, slm, seed, last, design: see `Cell`.
    link: cells whose stages it uses, by the option that says so.
    stages: that it runs.
    keeps: the cell for whose encoder and quantiser its decoder is trained.
  """
  folder, link = workdir / "cells", link or {}
  file = settings["slms"][slm or settings["codecs_of"]]
  config = f"{file}:{','.join(filter(None, (settings['arg'], f'codec={codec}')))}"
  overrides = overrides_of(settings, slm, codec)
  if keeps:
    overrides += [_FREEZE, f"codec_train.init_from={folder / keeps}"]
  command = [program, f"--config={config}", f"--workdir={folder / name}"]
  command += [f"--{option}={folder / cell}" for option, cell in link.items()]
  if slm:
    command.append(f"--keep_measures_in={workdir / 'measured'}")
  command += [f"--config.stages={stages}", f"--config.seed={seed}"]
  command += [f"--config.{override}" for override in overrides]
  return Cell(
    name=name,
    codec=codec,
    slm=slm,
    seed=seed,
    needs=tuple(link.values()),
    workdir=folder / name,
    config=config,
    command=tuple(command),
    overrides=tuple(overrides),
    last=last,
    design=design,
  )


def _check(settings: Mapping[str, Any]) -> None:
  if settings.get("design", JOINT) not in DESIGNS:
    raise StudyError(
      f"design: expected one of {', '.join(DESIGNS)}, got {settings['design']!r}"
    )
  lists = {field: list(settings[field]) for field in ("codecs", "slms", "seeds")}
  if FROZEN in designs_of(settings):
    lists |= {f"frozen.{k}": list(v) for k, v in settings["frozen"].items()}
  for field, values in lists.items():
    if not values or len(set(values)) != len(values):
      raise StudyError(f"{field}: expected one or more, each once, got {values}")
  if settings["codecs_of"] not in settings["slms"]:
    raise StudyError(
      f"codecs_of: {settings['codecs_of']!r} is none of slms, {list(settings['slms'])}"
    )
  if settings["listening"]["sentences"] < 0:
    raise StudyError("listening.sentences: expected 0 or more")
  _check_overrides(settings)


def _check_overrides(settings: Mapping[str, Any]) -> None:
  owners = [*settings["slms"], *settings["codecs"]]
  owners += [_DECODERS] if FROZEN in designs_of(settings) else []
  for override in settings["overrides"]:
    of, name, value = _parts(override)
    if value is None or name in _OWN or of not in (None, *owners):
      raise StudyError(
        f"overrides: expected name=value of a field other than {', '.join(_OWN)}, or"
        f" NAME:name=value of one of {', '.join(owners)}, got {override!r}"
      )


def _parts(override: str) -> tuple[str | None, str, str | None]:
  """Splits `name=value` or `NAME:name=value` into NAME, field and value."""
  left, equals, value = override.partition("=")
  of, colon, name = left.rpartition(":")
  return of if colon else None, name, value if equals else None


def overrides_of(settings: Mapping[str, Any], slm: str | None, codec: str) -> list[str]:
  """Returns what a cell of a codec and, or None, a language model is given.

  Those of `decoders` are for the frozen design's decoders and what speaks by them. Of
  one field the last counts: a program that is given a tuple twice adds them up.
  """
  found = map(_parts, settings["overrides"])
  tokens, plus, _ = codec.partition("+")
  wanted = None, slm, tokens, *([_DECODERS] if plus else [])
  last = {name: value for of, name, value in found if of in wanted}
  return [f"{name}={value}" for name, value in last.items()]


def as_lines(cells: Sequence[Cell], again: str) -> str:
  """Returns a shell command a cell, what it must wait for, and the one that collects.

  Args:
    cells: from `plan`.
    again: the command line that this study was started with.
  """
  lines = [
    f"python {shlex.join(cell.command)}  # {cell.name}"
    + (f", after {' and '.join(cell.needs)}" if cell.needs else "")
    for cell in cells
  ]
  return "\n".join([*lines, f"{again} --collect  # after all of them"])
