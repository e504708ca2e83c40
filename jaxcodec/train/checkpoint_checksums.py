"""Checksums of checkpoints, so that a damaged one is found and stepped over."""

import json
import pathlib
import shutil

from absl import logging

from jaxcodec import files

CHECKSUMS = "checksums.json"


def seal(folder: pathlib.Path) -> None:
  """Adds checksums to a checkpoint that is whole.

  Of the items' files; those beside them, Orbax still writes while committing.
  """
  paths = sorted(path for path in folder.glob("*/**/*") if path.is_file())
  sums = {path.relative_to(folder).as_posix(): files.sha256(path) for path in paths}
  files.write_json(folder / CHECKSUMS, sums)


def set_aside(checkpoints: pathlib.Path) -> None:
  """Moves damaged ones to `<checkpoints>.damaged`, and says so."""
  folders = [path for path in checkpoints.iterdir() if path.name.isdigit()]
  newer_is_intact = False
  for folder in sorted(folders, key=lambda path: int(path.name), reverse=True):
    problem = _problem(folder)
    if problem is None:
      newer_is_intact = True
    elif newer_is_intact and problem.endswith("missing"):
      shutil.rmtree(folder)  # its removal was under way when the process died
    else:
      aside = _move(folder)
      logging.error(
        "checkpoint %s is damaged (%s): moved to %s, looking for the one before it",
        *(folder, problem, aside),
      )


def refuse_if_all(checkpoints: pathlib.Path) -> None:
  """For when there is none left.

  Raises:
    RuntimeError: there were some, all of them damaged.
  """
  damaged = _beside(checkpoints)
  if damaged.is_dir() and any(damaged.iterdir()):
    raise RuntimeError(
      f"no checkpoint in {checkpoints} is intact; the damaged ones are in {damaged}:"
      " remove that folder to train from the start"
    )


def _beside(checkpoints):
  return checkpoints.with_name(f"{checkpoints.name}.damaged")


def _move(folder):
  damaged = _beside(folder.parent)
  damaged.mkdir(exist_ok=True)
  number = len(list(damaged.iterdir()))
  return folder.rename(damaged / f"{folder.name}-{number}")


def _problem(folder: pathlib.Path) -> str | None:
  """What is wrong with a checkpoint's files, None if nothing."""
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
