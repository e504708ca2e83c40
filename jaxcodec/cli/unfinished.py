"""A note in the output folder of a command that was interrupted, so that it goes on."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxcodec import files
from jaxcodec.cli.file_tree import FilePair

FILE = ".unfinished.json"


def is_there(out: files.PathLike) -> bool:
  """Tells whether a command was interrupted while it wrote to the folder."""
  return (pathlib.Path(out) / FILE).is_file()


def missing(
  out: files.PathLike, settings: Mapping[str, Any], pairs: Sequence[FilePair]
) -> list[FilePair]:
  """Returns the pairs that an interrupted command left to do; all if it was at its end.

  Raises:
    ValueError: it had other settings.
  """
  path = pathlib.Path(out) / FILE
  try:
    before = json.loads(path.read_text())
  except ValueError:
    before = {}
  different = [name for name in settings if settings[name] != before.get(name)]
  if different:
    raise ValueError(
      f"{out}: an interrupted command that differs in {', '.join(different)} wrote to"
      " it; go on with that one, or begin anew with --overwrite"
    )
  left = [pair for pair in pairs if not is_done(pair.source, pair.target)]
  return left or list(pairs)


@contextlib.contextmanager
def noted(out: files.PathLike, settings: Mapping[str, Any]) -> Iterator[None]:
  """Leaves a note in the folder, which only the end of the block removes."""
  path = pathlib.Path(out) / FILE
  files.write_json(path, dict(settings))
  yield
  path.unlink(missing_ok=True)


def is_done(source: pathlib.Path, target: pathlib.Path) -> bool:
  """Tells whether the target is there, and newer than its source.

  A target that is there is whole: it appears by a rename.
  """
  try:
    return target.stat().st_mtime_ns >= source.stat().st_mtime_ns
  except OSError:
    return False
