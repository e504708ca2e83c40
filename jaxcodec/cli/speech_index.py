"""Speaks the rows of a table, and keeps an index by which a stopped command goes on."""

import argparse
import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxcodec import files
from jaxcodec.api.speech_model import SpeechModel
from jaxcodec.cli import file_tree, unfinished
from jaxcodec.cli.speech_files import speak_files
from jaxcodec.cli.speech_table import SpeechJob

INDEX = "index.jsonl"
Rows = list[dict[str, Any]]


def speak_table(
  load: Callable[[], SpeechModel],
  jobs: Sequence[SpeechJob],
  arguments: argparse.Namespace,
  options: Mapping[str, Any],
) -> Rows:
  """Speaks the jobs that are left, and returns the rows of all.

  The index is written whenever some rows are done. While it isn't complete, a note in
  the folder says by which command; the same one again does what is missing.

  Args:
    load: loads the model.
    jobs: the rows of the table.
    arguments: of the command line.
    options: of the sampler.

  Raises:
    ValueError: outputs are there already, or a command with other settings was
      interrupted.
  """
  out = pathlib.Path(arguments.out)
  settings = {
    "table": files.sha256(arguments.tsv),
    **{name: getattr(arguments, name) for name in ("weights", "seed", "on_error")},
    **options,
  }
  resumed = unfinished.is_there(out) and not arguments.overwrite
  before = _rows_of(out, settings) if resumed else []
  known = {row["out"] for row in before}
  left = [job for job in jobs if str(job.target) not in known]
  if not (resumed or arguments.overwrite):
    file_tree.refuse_existing([*(job.target for job in jobs), out / INDEX])
  model = load()

  def keep(rows: Sequence[dict[str, Any]]) -> None:
    lines = (json.dumps(row) + "\n" for row in (*before, *rows))
    files.write_text(out / INDEX, "".join(lines))

  how = {"note": _noted(out, settings, resumed), "done": keep, **options}
  rows = speak_files(model, left, on_error=arguments.on_error, **how)
  return [*before, *rows]


@contextlib.contextmanager
def _noted(
  out: pathlib.Path, settings: Mapping[str, Any], resumed: bool
) -> Iterator[None]:
  """As `unfinished.noted`; the index of what is replaced is gone before."""
  if not resumed:
    (out / INDEX).unlink(missing_ok=True)
  with unfinished.noted(out, settings, resumed):
    yield


def _rows_of(out: pathlib.Path, settings: Mapping[str, Any]) -> Rows:
  """Returns what an interrupted command of the same settings has done."""
  unfinished.check_same(out, settings)
  if not (out / INDEX).is_file():
    return []
  lines = (out / INDEX).read_text(encoding="utf-8").splitlines()
  return list(filter(_is_done, map(json.loads, lines)))


def _is_done(row: Mapping[str, Any]) -> bool:
  is_silent = not row["seconds"] and "skipped" not in row
  return is_silent or pathlib.Path(row["out"]).exists()
