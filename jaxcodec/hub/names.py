"""Names of repositories on the Hugging Face Hub."""

import pathlib
import re
from typing import NamedTuple

SCHEME = "hf://"
MAIN = "main"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(rf"(?P<id>{_WORD}/{_WORD})(@(?P<revision>{_WORD}(/{_WORD})*))?")
# Names that end like this are of files, whose path was mistyped.
_FILES = (".pth", ".th", ".ckpt", ".bin", ".safetensors")


class Repository(NamedTuple):
  """A model's repository on the hub, at a revision.

  Attributes:
    id: `user/repo`.
    revision: a branch, tag or commit.
  """

  id: str
  revision: str = MAIN

  def __str__(self) -> str:
    return self.id if self.revision == MAIN else f"{self.id}@{self.revision}"


def parse(name: str) -> Repository | None:
  """Reads `user/repo`, `user/repo@revision` or either behind `hf://`.

  Without `hf://` it is None where the name is a path: where there is a folder called
  `user` here, or the name ends as files of weights do.

  Raises:
    ValueError: something else follows `hf://`.
  """
  match = _NAME.fullmatch(name.removeprefix(SCHEME))
  if name.startswith(SCHEME):
    if match is None:
      raise ValueError(
        f"{name}: expected {SCHEME}user/repo or {SCHEME}user/repo@revision"
      )
  elif match is None or name.endswith(_FILES) or _is_folder_here(match["id"]):
    return None
  return Repository(match["id"], match["revision"] or MAIN)


def is_repo_id(name: str) -> bool:
  """Tells whether a name is `user/repo`."""
  match = _NAME.fullmatch(name)
  return match is not None and match["revision"] is None


def _is_folder_here(repo_id: str) -> bool:
  return pathlib.Path(repo_id.partition("/")[0]).is_dir()
