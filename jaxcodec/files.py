"""Files that appear whole or not at all whenever the process dies; the cache folder."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

PathLike = str | os.PathLike
_LONGEST_NAME = 255  # bytes of a file's name, in the usual file systems
_ABANDONED = re.compile(r"\..*\.\d+\.part(\.[^.]+)?")  # as `_temporary_name` makes


def cache_folder() -> pathlib.Path:
  """The folder of what can be made again: `JAXCODEC_CACHE` or `~/.cache/jaxcodec`."""
  root = os.environ.get("JAXCODEC_CACHE") or "~/.cache/jaxcodec"
  return pathlib.Path(root).expanduser()


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[pathlib.Path]:
  """Gives a path to write to, which becomes `path` if no error ends the block.

  It lies beside `path`, whose folder is made: a rename is atomic only within a file
  system. Its name keeps the suffix, by which some writers choose a format.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(_temporary_name(path))
  try:
    yield temporary
    with open(temporary, "rb") as file:
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:
    if error.filename is None:  # as where a disk is full
      error.filename = str(path)
    raise
  finally:
    temporary.unlink(missing_ok=True)


def _temporary_name(path: pathlib.Path) -> str:
  """Returns a name that no other file and process has, and that isn't too long."""
  end = f".{os.getpid()}.part{path.suffix}"
  if len(os.fsencode(f".{path.stem}{end}")) <= _LONGEST_NAME:
    return f".{path.stem}{end}"
  return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}{end}"


def remove_abandoned(folder: PathLike) -> None:
  """Removes what processes that were killed had begun to write, below `folder` too.

  Only for a folder that no other process writes to.
  """
  for path in pathlib.Path(folder).rglob(".*.part*"):
    if _ABANDONED.fullmatch(path.name):
      path.unlink(missing_ok=True)


def write_bytes(path: PathLike, content: bytes) -> None:
  """Writes a file that is either old or complete."""
  with replacing(path) as temporary:
    temporary.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
  """As `write_bytes`, in UTF-8."""
  write_bytes(path, text.encode())


def write_json(path: PathLike, value: Any) -> None:
  """As `write_text`, keys in order; NaN and infinity are errors."""
  text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
  write_text(path, text + "\n")


def write_checked_json(path: PathLike, value: dict[str, Any]) -> None:
  """As `write_json`, with a checksum for `read_checked_json`."""
  write_json(path, {**value, "checksum": _checksum(value)})


def read_checked_json(path: PathLike) -> dict[str, Any]:
  """What `write_checked_json` wrote; raises `ValueError` naming a file that changed."""
  try:
    value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    checksum = value.pop("checksum")
  except (ValueError, KeyError, AttributeError, TypeError) as error:
    raise ValueError(f"{path}: is damaged: {error!r}") from error
  if checksum != _checksum(value):
    raise ValueError(f"{path}: is damaged: its checksum is wrong")
  return value


def _checksum(value: dict[str, Any]) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256(path: PathLike) -> str:
  """Checksum of a file's content, in hexadecimal."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
