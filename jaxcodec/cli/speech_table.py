"""Reads the table of `jaxcodec synthesize --tsv`, a row for each wav file."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jaxcodec import files
from jaxcodec.api.speech_model import Request

_NEEDED = ({"out", "text"}, {"out", "like"})
_OPTIONAL = {"prompt", "prompt_text", "seed"}
_FILES = {"like", "prompt"}


class SpeechJob(NamedTuple):
  """A request, the wav file to write for it, and its name in errors."""

  request: Request
  target: pathlib.Path
  name: str


def read_table(
  path: files.PathLike, out: files.PathLike, seed: int = 0
) -> list[SpeechJob]:
  """Reads a table with a header row.

  Its columns are `out` and either `text` or `like`, and any of `prompt`, `prompt_text`
  and `seed`; an empty cell is as if its column were not there.

  Args:
    path: UTF-8, cells apart by tabs, without quotes. `like` and `prompt` that are not
      absolute count from its folder.
    out: the folder that `out` counts from.
    seed: of rows without one.

  Raises:
    ValueError: naming the line.
  """
  path = pathlib.Path(path)
  try:
    lines = path.read_text(encoding="utf-8-sig").split("\n")
  except UnicodeDecodeError as error:
    raise ValueError(f"{path}: is not UTF-8 text: {error}") from error
  columns = _columns(path, lines)
  jobs: list[SpeechJob] = []
  taken: dict[pathlib.Path, int] = {}
  for number, cells in _rows(path, lines, columns):
    name = f"{path}, line {number}"
    target = _target(name, cells.pop("out", ""), pathlib.Path(out))
    if target in taken:
      raise ValueError(f"{name}: out {target} is that of line {taken[target]} too")
    taken[target] = number
    jobs.append(SpeechJob(_request(path, name, cells, seed), target, name))
  if not jobs:
    raise ValueError(f"{path}: has no rows below its header")
  return jobs


def _columns(path: pathlib.Path, lines: Sequence[str]) -> list[str]:
  columns = [column.strip() for column in lines[0].split("\t")]
  if not any(needed <= set(columns) for needed in _NEEDED):
    raise ValueError(
      f"{path}, line 1: expected a header with the columns out and text, or out and"
      f" like, apart by tabs; got {columns}"
    )
  if unknown := set(columns) - _OPTIONAL.union(*_NEEDED):
    raise ValueError(
      f"{path}, line 1: unknown columns {sorted(unknown)}; known: out, text, like,"
      f" {', '.join(sorted(_OPTIONAL))}"
    )
  if len(set(columns)) < len(columns):
    raise ValueError(f"{path}, line 1: a column is there twice: {columns}")
  return columns


def _rows(
  path: pathlib.Path, lines: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields (number, cells by column) of the lines, without those that are empty."""
  for number, line in enumerate(lines[1:], 2):
    if not line.strip():
      continue
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != len(columns):
      raise ValueError(
        f"{path}, line {number}: has {len(cells)} cells, expected {len(columns)}"
      )
    yield number, {c: cell for c, cell in zip(columns, cells, strict=True) if cell}


def _target(name: str, out: str, folder: pathlib.Path) -> pathlib.Path:
  relative = pathlib.Path(out)
  if relative.is_absolute() or ".." in relative.parts or relative.suffix != ".wav":
    raise ValueError(f"{name}: out must be a .wav file below --out, got {out!r}")
  return folder / relative


def _request(
  path: pathlib.Path, name: str, cells: dict[str, str], seed: int
) -> Request:
  for column in _FILES & cells.keys():
    cells[column] = str(path.parent / cells[column])
  if "text" not in cells and "like" not in cells:
    raise ValueError(f"{name}: there is nothing to say: text, or like, is empty")
  try:
    seed = int(cells.pop("seed", seed))
  except ValueError as error:
    raise ValueError(f"{name}: seed must be an integer: {error}") from None
  return Request(
    text=cells.get("text"),
    like=cells.get("like"),
    prompt=cells.get("prompt"),
    prompt_text=cells.get("prompt_text"),
    seed=seed,
  )
