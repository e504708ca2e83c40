"""Audio files of a folder with their labels, and problems found while listing them."""

import dataclasses
import pathlib
import re

from jaxcodec.data.source import DataError
from jaxcodec.data.sources.tree import printable

UNKNOWN_SPEAKER = "unknown"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BREAKS = re.compile("[\n\v\f\x85\u2028\u2029]+")
Problems = list[dict[str, str]]


@dataclasses.dataclass(frozen=True)
class AudioFile:
  """An audio file, not yet read, and its labels. `str` gives its path as text.

  `folder` and `was_heard` are as an `Utterance` has them.
  """

  path: pathlib.Path
  id: str
  speaker: str
  text: str | None
  folder: str = ""
  was_heard: bool = False

  def __str__(self):
    return printable(str(self.path))


def problem(item: object, reason: str) -> dict[str, str]:
  """Returns an entry of `Source.skipped`."""
  return {"item": printable(str(item)), "reason": printable(reason)}


def read_text(path: pathlib.Path) -> str:
  r"""Returns a file's text with `\n` for its line ends, which may be `\r\n` or `\r`.

  Raises:
    DataError: naming the file if it isn't UTF-8 text.
  """
  name = printable(str(path))
  try:
    text = path.read_text(encoding="utf-8-sig")
  except OSError as error:
    raise DataError(f"{name}: cannot be read: {printable(str(error))}") from error
  except UnicodeDecodeError as error:
    raise DataError(f"{name}: is not UTF-8 text: {error}") from error
  if found := _CONTROL.search(text):
    line = text.count("\n", 0, found.start()) + 1
    raise DataError(f"{name}:{line}: is not text: it has the character {found[0]!r}")
  return text


def one_line(text: str) -> str:
  """Returns a text with spaces for what other programs may take for ends of lines."""
  return _BREAKS.sub(" ", text)
