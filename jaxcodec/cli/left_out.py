"""Says which files of a folder a command has no use for."""

import collections
import pathlib
from collections.abc import Iterable, Sequence

_NAMED = 5  # kinds of file


def describe(inputs: Iterable[str], suffixes: Sequence[str]) -> str | None:
  """Returns a line on the files below folders that aren't of `suffixes`.

  Hidden files and what lies in hidden folders aren't counted; None if there's nothing.
  """
  kinds: collections.Counter[str] = collections.Counter()
  for folder in map(pathlib.Path, inputs):
    for path in folder.rglob("*") if folder.is_dir() else ():
      hidden = any(part[0] == "." for part in path.relative_to(folder).parts)
      if not hidden and path.suffix.lower() not in suffixes and path.is_file():
        kinds[path.suffix.lower() or "no suffix"] += 1
  if not kinds:
    return None
  named = [f"{count} {kind}" for kind, count in kinds.most_common(_NAMED)]
  more = [f"{len(kinds) - _NAMED} other kinds"] if len(kinds) > _NAMED else []
  return (
    f"left out {kinds.total()} files that are not {suffixes[0]} or the like:"
    f" {', '.join([*named, *more])}"
  )
