"""Compares the cache's files with the checksums by which the hub names them."""

import hashlib
import os
import pathlib
import re

from jaxcodec import files

_GIT_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


def problem(path: pathlib.Path) -> str | None:
  """Says how a file of the cache differs from its checksum; None if it doesn't.

  A file is a link to one that is called by its checksum: the sha256 of large files and
  git's SHA-1 of small ones. Where the file system has no links there is none to compare
  with.
  """
  if not path.is_symlink():
    return None
  expected = pathlib.Path(os.readlink(path)).name
  if _SHA256.fullmatch(expected):
    kind, found = "sha256", files.sha256(path)
  elif _GIT_SHA1.fullmatch(expected):
    kind, found = "git SHA-1", _git_sha1(path)
  else:
    return None
  if found == expected:
    return None
  return f"{path} is damaged: expected the {kind} {expected[:12]}, got {found[:12]}"


def _git_sha1(path: pathlib.Path) -> str:
  """Returns the name that git gives to a file's content."""
  content = path.read_bytes()
  digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
  digest.update(content)
  return digest.hexdigest()
