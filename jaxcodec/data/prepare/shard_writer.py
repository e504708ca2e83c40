"""One shard of a TFDS set, written by one process, with a record of what is in it."""

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import threading
from typing import Any

import numpy as np
from array_record.python import array_record_module

from jaxcodec import files
from jaxcodec.data.audio.files import resample, to_int16
from jaxcodec.data.prepare.shard_plan import ShardPlan
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import AudioFile, Problems, problem
from jaxcodec.data.sources.folder import read_recording

RECORDS = "shards"  # folder of the shards' records


@dataclasses.dataclass(frozen=True)
class BuildSettings:
  """What all shards of a build have in common.

  Attributes:
    root: of the source.
    folder: of the set: NAME/VERSION.
    name: of the set.
    sample_rate: of what is written, Hz.
    resample: or refuse files of other rates.
    has_text: whether the set has texts.
    on_error: `raise` or `skip`.
  """

  root: pathlib.Path
  folder: pathlib.Path
  name: str
  sample_rate: int
  resample: bool
  has_text: bool
  on_error: str

  def record_path(self, shard: ShardPlan) -> pathlib.Path:
    return self.folder / RECORDS / f"{shard.label}.json"


@dataclasses.dataclass(frozen=True)
class FinishedShard:
  """A finished shard: the entries of the manifest, and what could not be used."""

  recordings: list[dict[str, Any]]
  failures: Problems
  num_bytes: int
  sha256: str


def features(has_text: bool) -> Any:
  """The features of a set, as TFDS's.

  Audio is a tensor and not TFDS's Audio, which cannot be read without TensorFlow, in
  bytes: TFDS's plain integers take up to ten bytes a sample.
  """
  import tensorflow_datasets as tfds

  audio = tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes")
  labels = ["id", "speaker", *(["text"] if has_text else [])]
  texts = {name: tfds.features.Text() for name in labels}
  return tfds.features.FeaturesDict({"audio": audio, **texts})


def finished(job: BuildSettings, shard: ShardPlan) -> FinishedShard | None:
  """A shard that is there, with the bytes that were written, from the same inputs."""
  try:
    record = files.read_checked_json(job.record_path(shard))
    if record.pop("inputs") != shard.inputs(job.root):
      return None
    if job.on_error == "raise" and record["failures"]:
      return None
    whole = files.sha256(job.folder / shard.file(job.name)) == record["sha256"]
    return FinishedShard(**record) if whole else None
  except (OSError, ValueError):
    return None  # none, or damaged: it is written again


def write(job: BuildSettings, shard: ShardPlan) -> FinishedShard:
  """Writes a shard and then its record, each whole or not.

  Raises:
    DataError: (`raise`) a bad recording.
  """
  inputs = shard.inputs(job.root)
  encode = _encoder(features(job.has_text))
  recordings, failures, num_bytes = [], [], 0
  path = job.folder / shard.file(job.name)
  with files.replacing(path) as part:
    # Groups of one record make each readable by itself.
    writer = array_record_module.ArrayRecordWriter(str(part), "group_size:1")
    for item in shard.items:
      try:
        example, entry = _example(job, item)
      except DataError as error:
        if job.on_error == "raise":
          raise
        failures.append(problem(item.path.relative_to(job.root), str(error)))
        continue
      data = encode(example)
      writer.write(data)
      num_bytes += len(data)
      recordings.append({**entry, "shard": path.name})
    writer.close()
    digest = files.sha256(part)
  written = FinishedShard(recordings, failures, num_bytes, digest)
  record = {**dataclasses.asdict(written), "inputs": inputs}
  files.write_checked_json(job.record_path(shard), record)
  return written


def start_worker() -> None:
  """Leaves Ctrl-C to what started this process, and ends with it if it is killed."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  parent = multiprocessing.parent_process()

  def watch():
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


def _example(
  job: BuildSettings, item: AudioFile
) -> tuple[dict[str, Any], dict[str, Any]]:
  """What goes into the shard, and into the manifest."""
  recording = read_recording(item)
  rate, audio_N = recording.sample_rate, recording.audio_N
  if rate != job.sample_rate and not job.resample:
    raise DataError(
      f"{item}: has {rate} Hz and the set {job.sample_rate}; a given sample rate"
      " resamples all to it"
    )
  audio_N = to_int16(resample(audio_N, rate, job.sample_rate))
  example = {"audio": audio_N, "id": item.id, "speaker": item.speaker}
  if job.has_text:
    example["text"] = item.text or ""
  entry = {
    "id": item.id,
    "path": item.path.relative_to(job.root).as_posix(),
    "speaker": item.speaker,
    "seconds": round(len(audio_N) / job.sample_rate, 6),
    "sample_rate": rate,
    "sha256": recording.digest,
  }
  return example, entry


def _encoder(features):
  """Examples to bytes, the same in every process: TFDS's own leave the order open."""
  from tensorflow_datasets.core import example_serializer

  serializer = example_serializer.ExampleSerializer(features.get_serialized_info())

  def encode(example):
    proto = serializer.get_tf_example(features.encode_example(example))
    return proto.SerializeToString(deterministic=True)

  return encode
