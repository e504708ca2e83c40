"""Checksums of checkpoints, so that a damaged one is found and stepped over."""

import json
import pathlib
import shutil

from absl import logging

from jaxcodec import files

CHECKSUMS = "checksums.json"


def write_checksums(folder: pathlib.Path) -> None:
  """Adds checksums to a checkpoint whose items are all written.

  They cover the items' files only: Orbax still writes those beside them on committing.
  """
  paths = sorted(path for path in folder.glob("*/**/*") if path.is_file())
  sums = {path.relative_to(folder).as_posix(): files.sha256(path) for path in paths}
  files.write_json(folder / CHECKSUMS, sums)


def move_damaged(checkpoints: pathlib.Path) -> None:
  """Moves damaged checkpoints to `<checkpoints>.damaged` and logs an error for each."""
  folders = [path for path in checkpoints.iterdir() if path.name.isdigit()]
  newer_is_intact = False
  for folder in sorted(folders, key=lambda path: int(path.name), reverse=True):
    problem = _find_problem(folder)
    if problem is None:
      newer_is_intact = True
    elif newer_is_intact and problem.endswith("missing"):
      shutil.rmtree(folder)  # the process died while it removed this old checkpoint
    else:
      logging.error(
        "checkpoint %s is damaged (%s): moved to %s, looking for the one before it",
        folder,
        problem,
        _move(folder),
      )


def raise_if_all_damaged(checkpoints: pathlib.Path) -> None:
  """Must be called when no checkpoint is left, before training starts afresh.

  Raises:
    RuntimeError: there were some, all of them damaged.
  """
  damaged = _damaged_folder(checkpoints)
  if damaged.is_dir() and any(damaged.iterdir()):
    raise RuntimeError(
      f"no checkpoint in {checkpoints} is intact; the damaged ones are in {damaged}:"
      " remove that folder to train from the start"
    )


def _damaged_folder(checkpoints: pathlib.Path) -> pathlib.Path:
  return checkpoints.with_name(f"{checkpoints.name}.damaged")


def _move(folder: pathlib.Path) -> pathlib.Path:
  damaged = _damaged_folder(folder.parent)
  damaged.mkdir(exist_ok=True)
  number = len(list(damaged.iterdir()))
  return folder.rename(damaged / f"{folder.name}-{number}")


def _find_problem(folder: pathlib.Path) -> str | None:
  """Says what is wrong with a checkpoint's files, None if nothing is."""
  try:
    expected = json.loads((folder / CHECKSUMS).read_text())
    for name, digest in expected.items():
      if files.sha256(folder / name) != digest:
        return f"{name} has changed"
  except FileNotFoundError as error:
    return f"{pathlib.Path(error.filename).relative_to(folder)} is missing"
  except (ValueError, AttributeError):
    return f"{CHECKSUMS} is unreadable"
  return None
