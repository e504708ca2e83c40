"""What sound files were when they were last read, so that they need not be again.

A corpus of millions of files takes hours to decode, which a training that goes on, or
another cell of a study, should not wait for.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import socket
import threading
from typing import NamedTuple

from jaxcodec import files

# Fewer files are read anew at each start.
MANY = 1000
_EACH = 10_000  # files between two parts of the record, for starts that are interrupted


class Sound(NamedTuple):
  """A sound file that can be read.

  Attributes:
    num_samples: of its audio, mono.
    sample_rate: Hz.
    digest: hex digest of its content.
  """

  num_samples: int
  sample_rate: int
  digest: str


class Stamp(NamedTuple):
  """By what a file is taken for unchanged: its size, bytes, and time of change, ns."""

  size: int
  changed: int


class KnownFiles:
  """A record of sound files that could be read, in a folder of several parts.

  Each process adds parts of its own. One that can't be read, or has lines that can't,
  is as good as none: files are read again. Thread-safe.
  """

  def __init__(self, folder: pathlib.Path):
    """Reads the record, if there is one."""
    self._folder, self._lock = folder, threading.Lock()
    self._known: dict[str, tuple[Stamp, Sound]] = {}
    self._new: dict[str, tuple[Stamp, Sound]] = {}
    self._parts = 0
    for part in sorted(folder.glob("*.jsonl")):
      with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in part.read_text().splitlines():
          with contextlib.suppress(ValueError, TypeError):
            path, stamp, sound = json.loads(line)
            self._known[path] = Stamp(*stamp), Sound(*sound)

  @classmethod
  def of(cls, root: str) -> "KnownFiles":
    """Returns the record of a corpus, in the cache folder."""
    name = hashlib.sha256(os.path.abspath(root).encode()).hexdigest()[:16]
    return cls(files.cache_folder() / "known_files" / name)

  def find(self, path: pathlib.Path, stamp: Stamp) -> Sound | None:
    """Returns what the file was, None if it isn't known or has changed."""
    then, sound = self._known.get(str(path), (None, None))
    return sound if then == stamp else None

  def add(self, path: pathlib.Path, stamp: Stamp, sound: Sound) -> None:
    """Notes a file that was read; its stamp is from before."""
    with self._lock:
      self._new[str(path)] = stamp, sound
      if len(self._new) >= _EACH:
        self._save()

  def save(self) -> None:
    """Writes what was noted, if the folder can be written to."""
    with self._lock:
      self._save()

  def _save(self):
    if not self._new:
      return
    lines = [json.dumps([path, *found]) + "\n" for path, found in self._new.items()]
    name = f"{socket.gethostname()}-{os.getpid()}-{self._parts}.jsonl"
    with contextlib.suppress(OSError):
      files.write_text(self._folder / name, "".join(lines))
    self._new, self._parts = {}, self._parts + 1


def stamp_of(path: pathlib.Path) -> Stamp | None:
  """Returns a file's stamp, None if there is no such file."""
  try:
    found = path.stat()
  except OSError:
    return None
  return Stamp(found.st_size, found.st_mtime_ns)
