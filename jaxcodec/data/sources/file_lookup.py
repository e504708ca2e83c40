"""Finds the audio files that a table names, however it writes their names."""

import collections
import pathlib
import posixpath
import re
from collections.abc import Iterable, Sequence

from jaxcodec.data.sources.tree import same_letters

_ABSOLUTE = re.compile(r"/|[A-Za-z]:[/\\]")


class FileLookup:
  """The audio files of a folder by their names.

  A file is found by its name or its path below the folder, both with or without the
  suffix, with `./` before it, and with accents apart from their letters or not.

  Args:
    root: the folder.
    audio: files below it.
  """

  def __init__(self, root: pathlib.Path, audio: Iterable[pathlib.Path]):
    self._paths = collections.defaultdict(list)
    for path in audio:
      below = path.relative_to(root)
      names = {path.stem, path.name, str(below), str(below.with_suffix(""))}
      for name in names:
        self._paths[same_letters(name)].append(path)

  def find(self, names: Sequence[str]) -> list[tuple[str, list[pathlib.Path]]]:
    """Returns, for each name in a table, its shortest form and its files.

    Absolute paths may be of another machine: their first folders are taken off, as many
    from all of them as it takes until one is found.
    """
    plain = [self._plain(name) for name in names]
    depth = self._depth([name.split("/") for name in plain if _ABSOLUTE.match(name)])
    plain = [
      "/".join(name.split("/")[depth:]) if _ABSOLUTE.match(name) else name
      for name in plain
    ]
    return [(name, self._paths.get(same_letters(name), [])) for name in plain]

  def _plain(self, name):
    """Returns a path without `./` and the like, and with `/` for Windows' `\\`."""
    if same_letters(name) not in self._paths:
      name = name.replace("\\", "/")
    return posixpath.normpath(name)

  def _depth(self, absolute):
    for depth in range(1, max(map(len, absolute), default=0)):
      for parts in absolute:
        if same_letters("/".join(parts[depth:])) in self._paths:
          return depth
    return 0
