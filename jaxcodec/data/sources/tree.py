"""The files of a folder, whatever their names and however its folders are linked."""

import os
import pathlib
import unicodedata

from jaxcodec.data.source import DataError


def list_files(root: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files below a folder in order, without hidden ones and hidden folders.

  Symbolic links to folders are followed, but each folder is listed once: where it lies
  in the tree itself, or else behind the first link to it. So loops of links end.

  Raises:
    DataError: naming a folder that cannot be read.
  """
  seen, found = set(), []
  folders, links = [root], []
  while folders or links:
    folder = folders.pop() if folders else links.pop(0)
    try:
      status = folder.stat()
      if (status.st_dev, status.st_ino) in seen:
        continue
      seen.add((status.st_dev, status.st_ino))
      inside, linked, beside = _scan(folder)
    except OSError as error:
      raise DataError(f"{printable(str(folder))}: cannot be read: {error}") from error
    folders += inside
    links = sorted([*links, *linked])
    found += beside
  return sorted(found)


def printable(name: str) -> str:
  r"""Returns a file name as text: bytes that aren't UTF-8 become escapes, as `\xe9`."""
  return os.fsencode(name).decode("utf-8", "backslashreplace")


def same_letters(name: str) -> str:
  """Returns a name with letters and accents in one symbol, as most tables have them.

  macOS keeps file names with the accents apart.
  """
  return unicodedata.normalize("NFC", name)


def _scan(folder):
  """Returns the folders in a folder, those behind links in it, and its files."""
  inside, linked, beside = [], [], []
  with os.scandir(folder) as entries:
    for entry in entries:
      if entry.name.startswith("."):
        continue
      if entry.is_dir(follow_symlinks=False):
        kind = inside
      else:
        kind = linked if entry.is_dir() else beside
      kind.append(folder / entry.name)
  return inside, linked, beside
