"""Resumable stages: what is complete and current is skipped, the rest is redone.

A stage owns the folder `workdir/<name>`. `STARTED.json` records the inputs of the work
in it; `DONE.json`, written last, lists the outputs with their checksums. Of several
processes, which share the file system, only the first writes these records.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from absl import logging

from jaxcodec import files
from jaxcodec.parallel import processes

STARTED = "STARTED.json"
DONE = "DONE.json"
LOCK = ".lock"

# Fields of a config's sections on which no stage's result depends.
_OF_TRAINING = ("keep", "profile_steps", "remat", "eval_crops")
WITHOUT_EFFECT = {
  "data": ("path", "workers"),
  "codec_train": _OF_TRAINING,
  "slm_train": _OF_TRAINING,
  "evaluate": ("threads",),
}

StageFn = Callable[[pathlib.Path], Iterable[files.PathLike]]


@dataclasses.dataclass(frozen=True)
class Stage:
  """A completed stage.

  Attributes:
    folder: where its outputs are.
    fingerprint: sha256 of its inputs.
    outputs: {path relative to `folder`: {"bytes": int, "sha256": str}}.
    seconds: how long its last run took.
    skipped: True if it was complete and current already.
  """

  folder: pathlib.Path
  fingerprint: str
  outputs: dict[str, dict[str, Any]]
  seconds: float
  skipped: bool

  def as_input(self) -> dict[str, Any]:
    """Returns what a later stage records of this one: its outputs' checksums."""
    return {path: output["sha256"] for path, output in self.outputs.items()}


class WorkdirInUse(RuntimeError):
  """Another process works in the folder."""


def load_stage(workdir: files.PathLike, name: str) -> Stage | None:
  """Returns a complete stage, whatever its inputs were; None if it isn't complete."""
  folder = pathlib.Path(workdir) / name
  record = _read_record(folder / DONE)
  if record is None or _find_damaged(folder, record["outputs"]):
    return None
  return _stage(folder, record, skipped=True)


def is_of(workdir: files.PathLike, name: str, part: str, value: Any) -> bool:
  """Tells whether a stage, if it is there, began with this value of an input."""
  record = _read_record(pathlib.Path(workdir) / name / STARTED)
  return (
    record is None or record["inputs"].get(part) == _as_json({part: value}, name)[part]
  )


def run_stage(
  workdir: files.PathLike, name: str, inputs: Mapping[str, Any], fn: StageFn
) -> Stage:
  """Runs `fn(folder)` unless its outputs for exactly these inputs are there.

  Interrupted work with the same inputs is resumed: `fn` finds its files in the folder.
  Work with other inputs is moved to `<name>.stale-<n>`, never mixed in. If an output is
  damaged or missing, it is removed and the stage resumed to make it again.

  Args:
    workdir: the experiment's folder.
    name: the stage's name, also its folder's.
    inputs: everything the outputs depend on (config, code version, the `as_input()`
      of earlier stages), as JSON can hold it.
    fn: does the work inside the folder and returns the paths of its outputs there. It
      must be able to continue after a kill. Of several processes every one calls it.

  Raises:
    TypeError: if `inputs` can't be written as JSON.
    FileNotFoundError: if an output that `fn` returned doesn't exist.
  """
  inputs = _as_json(inputs, name)
  fingerprint = _fingerprint(inputs)
  folder = pathlib.Path(workdir) / name
  record = processes.on_first(lambda: _begin(folder, name, inputs, fingerprint))
  if record is not None:
    return _stage(folder, record, skipped=True)
  start = time.monotonic()
  paths = fn(folder)
  seconds = time.monotonic() - start
  record = {"name": name, "inputs": inputs, "fingerprint": fingerprint}
  record = processes.on_first(lambda: _finish(folder, record, paths, seconds))
  return _stage(folder, record, skipped=False)


def forget(workdir: files.PathLike, name: str) -> None:
  """Lets a stage that is complete be done again, in its folder."""
  (pathlib.Path(workdir) / name / DONE).unlink(missing_ok=True)


@contextlib.contextmanager
def lock_workdir(workdir: files.PathLike) -> Iterator[None]:
  """Holds `workdir` for this process; a lock ends when its process does.

  Raises:
    WorkdirInUse: at once, if another process holds it, with that process' id.
  """
  workdir = pathlib.Path(workdir)
  workdir.mkdir(parents=True, exist_ok=True)
  # The file stays: removing it would let two processes lock different inodes.
  with open(workdir / LOCK, "a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      holder = file.read().strip() or "unknown"
      raise WorkdirInUse(
        f"workdir {workdir} is in use by process {holder}: wait for it, stop it, or"
        " choose another --workdir"
      ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    yield


def changed_fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Returns a line for each field that differs: `codec.hop: 320 -> 640`."""
  old, new = dict(flatten(old)), dict(flatten(new))
  lines = []
  for key in sorted(old.keys() | new.keys()):
    before = json.dumps(old[key]) if key in old else "(absent)"
    after = json.dumps(new[key]) if key in new else "(absent)"
    if before != after:
      lines.append(f"{key}: {before} -> {after}")
  return lines


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Yields (path with dots, leaf) pairs of nested mappings; an empty one is a leaf."""
  if isinstance(value, Mapping) and value:
    for key, child in value.items():
      yield from flatten(child, f"{prefix}.{key}" if prefix else str(key))
  else:
    yield prefix, value


def _begin(folder, name, inputs, fingerprint) -> dict[str, Any] | None:
  """Returns the finished stage's record, or None once the folder is ready for work."""
  record = _find_finished(folder, name, inputs, fingerprint)
  if record is None:
    resumed = _prepare(folder, name, inputs, fingerprint)
    how = "resumed" if resumed else "started"
    logging.info("stage %s: %s in %s", name, how, folder)
  return record


def _finish(folder, record, paths, seconds) -> dict[str, Any]:
  """Writes the record, which makes the stage complete."""
  finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
  record = {
    **record,
    "outputs": _checksums(folder, paths),
    "seconds": round(seconds, 3),
    "finished": finished,
  }
  files.write_json(folder / DONE, record)
  logging.info("stage %s: done in %.1f s", record["name"], seconds)
  return record


def _find_finished(folder, name, inputs, fingerprint) -> dict[str, Any] | None:
  """Returns the record of the stage in `folder` if it's complete for these inputs."""
  record = _read_record(folder / DONE)
  if record is None:
    return None
  if record["fingerprint"] != fingerprint:
    _move_aside(folder, name, record["inputs"], inputs)
    return None
  damaged = _find_damaged(folder, record["outputs"])
  if damaged:
    logging.warning("stage %s: remaking damaged %s", name, ", ".join(damaged))
    # Removed before the work starts: a later kill must not leave a false DONE.json.
    (folder / DONE).unlink()
    for path in damaged:
      (folder / path).unlink(missing_ok=True)
    return None
  logging.info("stage %s: already complete in %s", name, folder)
  return record


def _stage(folder, record, *, skipped: bool) -> Stage:
  outputs, seconds = record["outputs"], record["seconds"]
  return Stage(folder, record["fingerprint"], outputs, seconds, skipped)


def _prepare(folder, name, inputs, fingerprint) -> bool:
  """Prepares the folder for these inputs; True if it holds work to resume."""
  record = _read_record(folder / STARTED)
  if record is not None and record["fingerprint"] == fingerprint:
    return True
  if record is not None:
    _move_aside(folder, name, record["inputs"], inputs)
  elif folder.is_dir() and any(folder.iterdir()):
    _move_aside(folder, name, {"(unknown)": None}, inputs)
  folder.mkdir(parents=True, exist_ok=True)
  files.write_json(
    folder / STARTED, {"fingerprint": fingerprint, "inputs": inputs, "name": name}
  )
  return False


def _move_aside(folder, name, old, new) -> None:
  number = 1
  while (aside := folder.with_name(f"{folder.name}.stale-{number}")).exists():
    number += 1
  os.replace(folder, aside)
  logging.warning(
    "stage %s: its inputs changed, so it starts again; the old work is in %s\n  %s",
    name,
    aside,
    "\n  ".join(changed_fields(old, new)),
  )


def _read_record(path: pathlib.Path) -> dict[str, Any] | None:
  """Reads a stage's record, None if it's absent or damaged."""
  try:
    record = json.loads(path.read_text())
    if isinstance(record, dict) and {"fingerprint", "inputs"} <= record.keys():
      return record
  except FileNotFoundError:
    return None
  except ValueError:
    pass
  logging.warning("%s is damaged and is ignored", path)
  return None


def _checksums(folder, paths: Iterable[files.PathLike]) -> dict[str, dict[str, Any]]:
  outputs = {}
  for path in paths:
    file = folder / path
    if not file.is_file():
      raise FileNotFoundError(f"stage {folder.name} should have written {file}")
    relative = file.relative_to(folder).as_posix()
    outputs[relative] = {"bytes": file.stat().st_size, "sha256": files.sha256(file)}
  return outputs


def _find_damaged(folder, outputs) -> list[str]:
  def intact(file, expected):
    return (
      file.is_file()
      and file.stat().st_size == expected["bytes"]
      and files.sha256(file) == expected["sha256"]
    )

  return [
    path for path, expected in outputs.items() if not intact(folder / path, expected)
  ]


def _as_json(inputs: Mapping[str, Any], name: str) -> dict[str, Any]:
  for key, value in inputs.items():
    try:
      json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
      raise TypeError(f"stage {name}: input {key!r} isn't JSON-able: {error}") from None
  return json.loads(json.dumps(dict(inputs)))


def _fingerprint(inputs: dict[str, Any]) -> str:
  return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
