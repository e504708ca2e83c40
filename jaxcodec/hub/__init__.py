"""Weights by name: on this machine, in the package, or on the Hugging Face Hub."""

import os
import pathlib

from jaxcodec import files, shipped
from jaxcodec.hub import download, names
from jaxcodec.hub.names import SCHEME, Repository
from jaxcodec.presets import PUBLISHED

__all__ = ["SCHEME", "Repository", "find", "repository"]


def find(name: files.PathLike, part: str = "codec") -> pathlib.Path:
  """Returns where weights lie, and fetches them if they are on the hub.

  What lies at a path goes before what is named like it.

  Args:
    name: a file or folder; a model that comes with the package; of codecs, a preset
      with published weights; or a repository, `user/repo` or `hf://user/repo@revision`.
    part: what is wanted of a repository, "codec" or "slm".

  Raises:
    OSError, ValueError: there is no such thing, or the hub does not give it away, or
      it's neither in the hub's cache nor within reach; see `download.fetch`.
  """
  if pathlib.Path(name).exists():
    return pathlib.Path(name)
  if (found := repository(name, part)) is not None:
    return download.fetch(found, part)
  return shipped.find(name)


def repository(name: files.PathLike, part: str = "codec") -> Repository | None:
  """Returns the repository that a name means; None if it means something else."""
  text = os.fspath(name)
  return names.parse(PUBLISHED.get(text, text) if part == "codec" else text)
