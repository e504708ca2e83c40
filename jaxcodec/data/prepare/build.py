"""Builds a TFDS set of array_record shards from a folder, in parallel, restartable."""

import concurrent.futures
import contextlib
import fcntl
import itertools
import multiprocessing
import os
import pathlib
import re
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from jaxcodec import files
from jaxcodec.data import extras
from jaxcodec.data.audio.files import read_rate
from jaxcodec.data.prepare import set_files, shard_plan, shard_writer
from jaxcodec.data.prepare.shard_plan import ShardPlan
from jaxcodec.data.prepare.shard_writer import BuildSettings, FinishedShard
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import AudioFile, Problems
from jaxcodec.data.sources.checked import raise_first
from jaxcodec.data.sources.layouts import list_folder
from jaxcodec.progress import Progress

BUILD = "build.json"
MAX_SECONDS = 600


class Summary(NamedTuple):
  """A finished build.

  Attributes:
    folder: of the set.
    splits: recordings by split; of longer ones their pieces.
    hours: of audio.
    cut: recordings that were longer than `max_seconds`.
    failures: recordings that were left out.
    kept_shards: how many shards an earlier build had finished.
    shards: how many there are.
  """

  folder: pathlib.Path
  splits: dict[str, int]
  hours: float
  cut: int
  failures: Problems
  kept_shards: int
  shards: int


def build(
  source: files.PathLike,
  out: files.PathLike,
  *,
  name: str | None = None,
  processes: int | None = None,
  shard_mb: float = 64,
  sample_rate: int | None = None,
  max_seconds: float = MAX_SECONDS,
  on_error: str = "raise",
) -> Summary:
  """Writes the set OUT/NAME/1.0.0 from a folder in one of `list_folder`'s layouts.

  A build that was killed resumes when started again: it keeps the shards whose
  checksums and inputs fit. The bytes depend neither on that nor on `processes`.

  Args:
    source: the folder; see `shard_plan.by_split` for what becomes the splits.
    out: TFDS's data directory.
    name: of the set, as TFDS wants them: a letter, then letters, digits, underscores;
      from the folder's name where None.
    processes: how many run in parallel; one per core where None.
    shard_mb: megabytes of source files in a shard.
    sample_rate: Hz, to which all is resampled; where None, all must have one rate.
    max_seconds: of an example. A longer recording is cut into pieces without text, of
      which one at a time is in memory; see `Piece.label`.
    on_error: `raise` at the first bad recording, or `skip` and list them all.

  Raises:
    DataError: bad settings, nothing usable, another build in that place, or (`raise`)
      a bad recording.
    MissingPackage: tensorflow-datasets is not installed.
    ValueError: the plan of an unfinished build is damaged.
    OSError: a file cannot be written, or a process died.
  """
  root = pathlib.Path(source).expanduser().absolute()
  name = _name(root, name)
  limits = {
    "processes": processes,
    "shard_mb": shard_mb,
    "sample_rate": sample_rate,
    "max_seconds": max_seconds,
  }
  for field, value in limits.items():
    if value is not None and value <= 0:
      raise DataError(f"{field} must be positive, got {value}")
  items, failures = _list(root, on_error)
  splits = shard_plan.by_split(items, root)
  folder = pathlib.Path(out).expanduser().absolute() / name / set_files.VERSION
  with _only_builder(folder):
    wanted = {
      "recordings": shard_plan.listing(splits, root),
      "resampled_to": sample_rate,
      "shard_mb": shard_mb,
      "max_seconds": max_seconds,
    }
    plan = _plan(folder, splits, wanted)
    settings = BuildSettings(
      root=root,
      folder=folder,
      name=name,
      sample_rate=plan["sample_rate"],
      resample=sample_rate is not None,
      has_text=any(item.text for item in items),
      max_seconds=max_seconds,
      on_error=on_error,
    )
    shards = shard_plan.make_shards(splits, plan["shards"])
    written, kept = _write_all(settings, shards, processes)
    failures += [failure for one in written for failure in one.failures]
    counts = set_files.write_all(settings, shards, written, failures)
  entries = [entry for one in written for entry in one.recordings]
  hours = sum(entry["seconds"] for entry in entries) / 3600
  cut = len({entry["path"] for entry in entries if "begin" in entry})
  return Summary(folder, counts, hours, cut, failures, kept, len(shards))


def _name(root: pathlib.Path, name: str | None) -> str:
  if name is None:
    name = re.sub(r"\W+", "_", root.name.lower(), flags=re.ASCII).strip("_")
  if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
    raise DataError(
      f"the set's name must be a small letter, then small letters, digits and"
      f" underscores, got {name!r}"
    )
  (tfds,) = extras.import_modules(
    "tensorflow-datasets",
    "tensorflow_datasets",
    field="a build of a TFDS set",
    extra="tfds",
  )

  if name in tfds.list_builders(with_community_datasets=False):
    raise DataError(
      f"{name!r} is a set of TFDS's catalogue, which TFDS would look for in its place;"
      " choose another name"
    )
  return name


def _list(root: pathlib.Path, on_error: str) -> tuple[list[AudioFile], Problems]:
  items, problems = list_folder(root)
  items, doubles = shard_plan.unique(items)
  failures = [*problems, *doubles]
  if on_error == "raise":
    raise_first(failures)
  if not items:
    raise DataError(f"{root}: no usable recording")
  return items, failures


@contextlib.contextmanager
def _only_builder(folder: pathlib.Path) -> Iterator[None]:
  """Makes the folder and locks it; removes half-written files of a killed build."""
  if folder.is_dir() and any(folder.iterdir()) and not (folder / ".lock").is_file():
    raise DataError(f"{folder}: is there and was not made by this command")
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / ".lock", "w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise DataError(f"{folder}: another build is writing it") from None
    for part in folder.rglob(".*.part*"):
      part.unlink(missing_ok=True)
    yield


def _plan(folder, splits, wanted) -> dict[str, Any]:
  """Returns the plan of the build in `folder`, a new one if none was begun there."""
  path = folder / BUILD
  if not path.is_file():
    lengths = {
      split: shard_plan.shard_lengths(part, int(wanted["shard_mb"] * 2**20))
      for split, part in splits.items()
    }
    rate = wanted["resampled_to"] or _first_rate(splits)
    files.write_checked_json(path, {**wanted, "shards": lengths, "sample_rate": rate})
  plan = files.read_checked_json(path)
  if different := [
    field for field, value in wanted.items() if plan.get(field) != value
  ]:
    raise DataError(
      f"{folder}: holds another build, which differs in {', '.join(different)}; choose"
      " another name or folder, or remove it"
    )
  return plan


def _first_rate(splits: dict[str, list[AudioFile]]) -> int:
  """Returns the rate of the first readable file, for a set that isn't resampled."""
  errors = []
  for item in itertools.chain.from_iterable(splits.values()):
    try:
      return read_rate(item.path)
    except DataError as error:
      errors.append(str(error))
  raise DataError(f"no usable recording; {'; '.join(errors[:3])}")


def _write_all(settings, shards, processes) -> tuple[list[FinishedShard], int]:
  """Writes the missing shards; returns all, in order, and how many were kept."""
  total = sum(len(shard.items) for shard in shards)
  results: dict[ShardPlan, FinishedShard] = {}
  with (
    _pool(min(processes or os.cpu_count() or 1, len(shards))) as pool,
    Progress(total, "build", unit="recordings") as progress,
  ):
    checks = {
      pool.submit(shard_writer.read_finished, settings, shard): shard
      for shard in shards
    }
    _collect(checks, results, progress)
    kept = len(results)
    progress.restart_clock()
    missing = [shard for shard in shards if shard not in results]
    writes = {
      pool.submit(shard_writer.write, settings, shard): shard for shard in missing
    }
    _collect(writes, results, progress)
  return [results[shard] for shard in shards], kept


def _collect(futures, results, progress) -> None:
  for future in concurrent.futures.as_completed(futures):
    try:
      written = future.result()
    except BrokenProcessPool as error:
      raise OSError(
        "a process of the build died (killed, or out of memory?); the same command"
        " goes on from here"
      ) from error
    if written is not None:
      results[futures[future]] = written
      progress.update(len(futures[future].items))


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[concurrent.futures.Executor]:
  """Yields a pool of fresh processes, or for one process a thread of this one."""
  if processes == 1:
    pool = concurrent.futures.ThreadPoolExecutor(1)
  else:
    pool = concurrent.futures.ProcessPoolExecutor(
      processes,
      mp_context=multiprocessing.get_context("spawn"),
      initializer=shard_writer.start_worker,
    )
  try:
    yield pool
  finally:
    pool.shutdown(cancel_futures=True)
