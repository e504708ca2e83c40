"""Audio files of a folder with their labels, and problems found while listing them."""

import dataclasses
import pathlib
import re

from jaxcodec.data.source import DataError

UNKNOWN_SPEAKER = "unknown"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
Problems = list[dict[str, str]]


@dataclasses.dataclass(frozen=True)
class AudioFile:
  """An audio file, not yet read, and its labels. `str` gives its path."""

  path: pathlib.Path
  id: str
  speaker: str
  text: str | None

  def __str__(self):
    return str(self.path)


def problem(item: object, reason: str) -> dict[str, str]:
  """Returns an entry of `Source.skipped`."""
  return {"item": str(item), "reason": reason}


def read_text(path: pathlib.Path) -> str:
  """Returns a file's text; raises `DataError` naming it if it isn't UTF-8 text."""
  try:
    text = path.read_text(encoding="utf-8-sig")
  except OSError as error:
    raise DataError(f"{path}: cannot be read: {error}") from error
  except UnicodeDecodeError as error:
    raise DataError(f"{path}: is not UTF-8 text: {error}") from error
  if found := _CONTROL.search(text):
    line = text.count("\n", 0, found.start()) + 1
    raise DataError(f"{path}:{line}: is not text: it has the character {found[0]!r}")
  return text
