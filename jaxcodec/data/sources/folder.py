"""A folder of audio files as a source."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator

from jaxcodec import files
from jaxcodec.data.audio.files import read_audio
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import AudioFile
from jaxcodec.data.sources.checked import DEFAULT_CACHE_BYTES, CheckedSource, Recording
from jaxcodec.data.sources.layouts import list_folder, list_table
from jaxcodec.data.sources.tree import printable


def open_folder(
  path: str | None,
  *,
  sample_rate: int,
  on_error: str = "raise",
  cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> CheckedSource:
  """Opens all wav, flac, mp3 and ogg files in `path`; `list_folder` has the layouts.

  `path` may also be a table or list of files, see `list_table`.
  """
  if not path:
    raise DataError("data.path: data.source='folder' needs the folder of audio files")
  root = pathlib.Path(path).expanduser()
  items, problems = list_table(root) if root.is_file() else list_folder(root)
  top = root.parent if root.is_file() else root
  return CheckedSource(
    str(root),
    [dataclasses.replace(item, folder=_folder(item.path, top)) for item in items],
    read_recording,
    sample_rate=sample_rate,
    on_error=on_error,
    problems=problems,
    cache_bytes=cache_bytes,
  )


def _folder(path: pathlib.Path, top: pathlib.Path) -> str:
  if not path.is_relative_to(top):
    return ""
  return printable(path.relative_to(top).parent.as_posix())


def read_recording(item: AudioFile) -> Recording:
  """Reads one file; raises `DataError` naming it where it is bad."""
  with naming(item):
    audio_N, rate = read_audio(item.path)
  digest = functools.partial(_digest, item)
  return Recording(item.id, item.speaker, item.text, audio_N, rate, digest)


def _digest(item):
  with naming(item):
    return files.sha256(item.path)


@contextlib.contextmanager
def naming(item: AudioFile) -> Iterator[None]:
  """Makes what goes wrong with a file a `DataError` that names it."""
  try:
    yield
  except OSError as error:
    reason = printable(str(error))
    raise DataError(f"{item}: cannot be read: {reason}") from error
  except DataError as error:  # whose text goes to files and terminals
    raise DataError(printable(str(error))) from error
