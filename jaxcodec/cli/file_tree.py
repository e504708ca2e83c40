"""Pairs input files with output files in a tree of the same shape."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxcodec.data.sources.tree import list_files


class FilePair(NamedTuple):
  """A file to read and the file to write for it."""

  source: pathlib.Path
  target: pathlib.Path


def plan(
  inputs: Iterable[str | os.PathLike],
  out: str | os.PathLike,
  suffixes: Sequence[str],
  target_suffix: str,
) -> list[FilePair]:
  """Pairs each input file, and each file of `suffixes` below an input folder.

  A single file goes to `out` itself; files of a folder keep their relative path.
  Hidden files are left out; see `list_files`.

  Raises:
    ValueError: a missing input, a file of another kind, a folder with nothing to do,
      two files that would be written to one, or `out` can't be a folder.
  """
  _check_out(pathlib.Path(out))
  pairs: list[FilePair] = []
  for given in map(pathlib.Path, inputs):
    for source, relative in _files(given, suffixes):
      target = pathlib.Path(out) / relative.with_suffix(target_suffix)
      pairs.append(FilePair(source, target))
  sources: dict[pathlib.Path, pathlib.Path] = {}
  for source, target in pairs:
    if sources.setdefault(target, source) != source:
      raise ValueError(
        f"{source} and {sources[target]} would both be written to {target}: rename one,"
        " or give them different folders"
      )
  return [FilePair(source, target) for target, source in sources.items()]


def refuse_existing(targets: Sequence[pathlib.Path]) -> None:
  """Raises ValueError if any of the files is there already."""
  if existing := [target for target in targets if target.exists()]:
    raise ValueError(
      f"{len(existing)} of {len(targets)} outputs exist already, {existing[0]} among"
      " them; --overwrite replaces them"
    )


def _check_out(out: pathlib.Path) -> None:
  place = next(place for place in (out, *out.absolute().parents) if place.exists())
  if not place.is_dir():
    raise ValueError(f"--out: {place} is a file, and outputs go to a folder")


def _files(
  given: pathlib.Path, suffixes: Sequence[str]
) -> list[tuple[pathlib.Path, pathlib.Path]]:
  """Returns (path, path below `given`) of each file to read."""
  kinds = ", ".join(suffixes)
  if given.is_dir():
    found = [
      (path, path.relative_to(given))
      for path in list_files(given)
      if path.suffix.lower() in suffixes and path.is_file()
    ]
    if not found:
      raise ValueError(f"{given}: no {kinds} file anywhere in it")
    return found
  if given.exists() and not given.is_file():
    raise ValueError(f"{given}: is no regular file; standard input is read as -")
  if not given.is_file():
    raise ValueError(f"{given}: there is no such file or folder")
  if given.suffix.lower() not in suffixes:
    raise ValueError(f"{given}: expected a {kinds} file")
  return [(given, pathlib.Path(given.name))]
