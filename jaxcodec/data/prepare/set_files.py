"""Files of a built set beside its shards: TFDS's metadata, manifest, checksums."""

import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from jaxcodec import files
from jaxcodec.data.prepare import shard_writer
from jaxcodec.data.prepare.shard_plan import ShardPlan
from jaxcodec.data.prepare.shard_writer import BuildSettings, FinishedShard
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import Problems

VERSION = "1.0.0"
MANIFEST, FAILURES = "manifest.jsonl", "failures.jsonl"
CHECKSUMS = "checksums.json"
# Readers look for this file, so it is written last.
_INFO = "dataset_info.json"


def write_all(
  settings: BuildSettings,
  shards: Sequence[ShardPlan],
  written: Sequence[FinishedShard],
  failures: Problems,
) -> dict[str, int]:
  """Writes all files but the shards; returns the number of recordings by split.

  Raises:
    DataError: a split has no recording.
  """
  results = list(zip(shards, written, strict=True))
  splits: dict[str, list[FinishedShard]] = {}
  for shard, one in results:
    splits.setdefault(shard.split, []).append(one)
  counts = {
    split: sum(len(one.recordings) for one in parts) for split, parts in splits.items()
  }
  for split, count in counts.items():
    if not count:
      some = "; ".join(failure["reason"] for failure in failures[:3])
      raise DataError(
        f"{settings.root}: no usable recording for the split {split}; {some}"
      )
  temporary = settings.folder / ".metadata"
  shutil.rmtree(temporary, ignore_errors=True)
  temporary.mkdir()
  recordings = [entry for one in written for entry in one.recordings]
  (temporary / MANIFEST).write_text(_json_lines(recordings), encoding="utf-8")
  (temporary / FAILURES).write_text(_json_lines(failures), encoding="utf-8")
  _write_metadata(temporary, settings, splits)
  names = sorted(path.name for path in temporary.iterdir())
  checksums = {name: files.sha256(temporary / name) for name in names}
  checksums |= {shard.file(settings.name): one.sha256 for shard, one in results}
  files.write_json(settings.folder / CHECKSUMS, checksums)
  for name in sorted(names, key=lambda name: name == _INFO):
    os.replace(temporary / name, settings.folder / name)
  temporary.rmdir()
  return counts


def check(folder: pathlib.Path) -> None:
  """Checks the metadata of a set, and its checksums where it has any.

  Raises:
    DataError: naming the file that isn't JSON or has changed.
  """
  for name in (_INFO, "features.json", "metadata.json"):
    if (folder / name).is_file():
      try:
        json.loads((folder / name).read_text(encoding="utf-8"))
      except (OSError, ValueError) as error:
        raise DataError(f"{folder / name}: is damaged: {error}") from error
  path = folder / CHECKSUMS
  if not path.is_file():
    return
  try:
    expected = json.loads(path.read_text(encoding="utf-8"))
    small = {name: digest for name, digest in expected.items() if ".json" in name}
    missing = {_INFO, "features.json", "metadata.json", MANIFEST} - small.keys()
  except (OSError, ValueError, AttributeError) as error:
    raise DataError(f"{path}: is damaged: {error!r}") from error
  if missing:
    raise DataError(f"{path}: is damaged: it lacks {sorted(missing)[0]}")
  for name, digest in small.items():
    if not (folder / name).is_file():
      raise DataError(f"{folder / name}: is missing; build the set again")
    if files.sha256(folder / name) != digest:
      raise DataError(f"{folder / name}: has changed: it does not fit {CHECKSUMS}")


def _json_lines(entries: Sequence[dict[str, Any]]) -> str:
  dumped = (json.dumps(one, ensure_ascii=False, sort_keys=True) for one in entries)
  return "".join(line + "\n" for line in dumped)


def _write_metadata(
  folder: pathlib.Path, settings: BuildSettings, splits: dict[str, list[FinishedShard]]
) -> None:
  """Writes TFDS's description, by which it finds the shards."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import dataset_info
  from tensorflow_datasets.core.file_adapters import FileFormat

  identity = dataset_info.DatasetIdentity(
    settings.name, tfds.core.Version(VERSION), str(settings.folder), module_name=""
  )
  info = tfds.core.DatasetInfo(
    builder=identity,
    features=shard_writer.features(settings.has_text),
    description="Speech: mono, 16 bits.",
    metadata=tfds.core.MetadataDict(sample_rate=settings.sample_rate),
  )
  info.set_file_format(FileFormat.ARRAY_RECORD)
  info.set_splits(
    tfds.core.splits.SplitDict(
      [
        tfds.core.SplitInfo(
          name=split,
          shard_lengths=[len(one.recordings) for one in parts],
          num_bytes=sum(one.num_bytes for one in parts),
          filename_template=tfds.core.ShardedFileTemplate(
            data_dir=settings.folder,
            dataset_name=settings.name,
            split=split,
            filetype_suffix="array_record",
          ),
        )
        for split, parts in splits.items()
      ]
    )
  )
  info.write_to_directory(folder)
