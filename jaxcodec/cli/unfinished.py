"""A note in the output folder of a command that was interrupted, so that it goes on."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxcodec import files
from jaxcodec.cli.file_tree import FilePair
from jaxcodec.cli.standard_streams import NAME

FILE = ".unfinished.json"


def is_there(out: files.PathLike) -> bool:
  """Tells whether a command was interrupted while it wrote to the folder."""
  return (pathlib.Path(out) / FILE).is_file()


def check_same(out: files.PathLike, settings: Mapping[str, Any]) -> None:
  """Raises ValueError if the command that was interrupted had other settings."""
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


def missing(
  out: files.PathLike, settings: Mapping[str, Any], pairs: Sequence[FilePair]
) -> list[FilePair]:
  """Returns the pairs that an interrupted command left to do; all if it was at its end.

  Raises:
    ValueError: it had other settings.
  """
  check_same(out, settings)
  since = began(out)
  left = [pair for pair in pairs if not is_done(pair.source, pair.target, since)]
  return left or list(pairs)


def described(inputs: Sequence[str]) -> list[str]:
  """Returns what a note says of a command's inputs, the same from any folder."""
  return sorted(
    {name if name == NAME else str(pathlib.Path(name).resolve()) for name in inputs}
  )


@contextlib.contextmanager
def noted(
  out: files.PathLike, settings: Mapping[str, Any], resumed: bool = False
) -> Iterator[None]:
  """Leaves a note in the folder, which only the end of the block removes.

  The note of a command that is resumed stays, as it tells when that began.
  """
  path = pathlib.Path(out) / FILE
  if not resumed:
    files.write_json(path, dict(settings))
  yield
  path.unlink(missing_ok=True)


def began(out: files.PathLike) -> int:
  """Returns when the command that left its note began, ns by the folder's clock."""
  return (pathlib.Path(out) / FILE).stat().st_mtime_ns


def is_done(source: pathlib.Path, target: pathlib.Path, since: int) -> bool:
  """Tells whether the target was written since then, and is newer than its source.

  A target that is there is whole: it appears by a rename.
  """
  try:
    oldest = max(source.stat().st_mtime_ns, since)
    return target.stat().st_mtime_ns >= oldest
  except OSError:
    return False
