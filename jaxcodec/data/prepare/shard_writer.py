"""Writes a shard of a TFDS set, and a record of its content by which it is kept."""

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from array_record.python import array_record_module

from jaxcodec import files
from jaxcodec.data.audio.files import resample, to_int16
from jaxcodec.data.audio.pieces import Piece, read_pieces
from jaxcodec.data.extras import MissingPackage
from jaxcodec.data.prepare.shard_plan import ShardPlan
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import AudioFile, Problems, problem
from jaxcodec.data.sources.folder import naming
from jaxcodec.data.sources.tree import printable

RECORDS = "shards"  # folder of the shards' records


@dataclasses.dataclass(frozen=True)
class BuildSettings:
  """Settings that all shards of a build have in common.

  Attributes:
    root: folder of the recordings.
    folder: of the set: NAME/VERSION.
    name: of the set.
    sample_rate: Hz, of the set.
    resample: whether to resample files of other rates, which else are errors.
    has_text: whether the set has texts.
    max_seconds: of an example; longer recordings are cut into pieces.
    on_error: `raise` or `skip`.
  """

  root: pathlib.Path
  folder: pathlib.Path
  name: str
  sample_rate: int
  resample: bool
  has_text: bool
  max_seconds: float
  on_error: str

  def record_path(self, shard: ShardPlan) -> pathlib.Path:
    """Returns where the record of a shard is."""
    return self.folder / RECORDS / f"{shard.label}.json"


@dataclasses.dataclass(frozen=True)
class FinishedShard:
  """The content of a shard.

  Attributes:
    recordings: entries of the manifest, one a piece.
    failures: recordings that were left out.
    num_bytes: of the records.
    sha256: hex digest of the file.
  """

  recordings: list[dict[str, Any]]
  failures: Problems
  num_bytes: int
  sha256: str


def features(has_text: bool) -> Any:
  """Returns TFDS's features of a set.

  Audio is a tensor, because TFDS's Audio cannot be read without TensorFlow, and encoded
  in bytes, because TFDS's plain integers take up to ten bytes a sample.
  """
  import tensorflow_datasets as tfds

  audio = tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes")
  labels = ["id", "speaker", *(["text"] if has_text else [])]
  texts = {name: tfds.features.Text() for name in labels}
  return tfds.features.FeaturesDict({"audio": audio, **texts})


def read_finished(settings: BuildSettings, shard: ShardPlan) -> FinishedShard | None:
  """Returns a shard that an earlier build wrote of the same inputs, None if damaged."""
  try:
    record = files.read_checked_json(settings.record_path(shard))
    if record.pop("inputs") != shard.inputs(settings.root, settings.has_text):
      return None
    if record.pop("again") or settings.on_error == "raise" and record["failures"]:
      return None
    whole = (
      files.sha256(settings.folder / shard.file(settings.name)) == record["sha256"]
    )
    return FinishedShard(**record) if whole else None
  except (OSError, ValueError):
    return None  # it is written again


def write(settings: BuildSettings, shard: ShardPlan) -> FinishedShard:
  """Writes a shard and then its record, each in one step.

  Raises:
    DataError: (`raise`) a bad recording.
  """
  inputs = shard.inputs(settings.root, settings.has_text)
  encode = _encoder(features(settings.has_text))
  recordings, failures, num_bytes, again = [], [], 0, False
  path = settings.folder / shard.file(settings.name)
  with files.replacing(path) as part:
    # Groups of one record make each readable by itself.
    writer = array_record_module.ArrayRecordWriter(str(part), "group_size:1")
    for item in shard.items:
      try:
        for example, entry in _examples(settings, item):
          data = encode(example)
          writer.write(data)
          num_bytes += len(data)
          recordings.append({**entry, "shard": path.name})
      except DataError as error:
        if settings.on_error == "raise":
          raise
        again |= _may_be_mended(error)
        failures.append(problem(item.path.relative_to(settings.root), str(error)))
    writer.close()
    digest = files.sha256(part)
  written = FinishedShard(recordings, failures, num_bytes, digest)
  record = {**dataclasses.asdict(written), "inputs": inputs, "again": again}
  files.write_checked_json(settings.record_path(shard), record)
  return written


def _may_be_mended(error: BaseException | None) -> bool:
  """Tells whether a file may be readable one day without being changed."""
  while error is not None and not isinstance(error, MissingPackage | PermissionError):
    error = error.__cause__
  return error is not None


def start_worker() -> None:
  """Makes this process ignore Ctrl-C, and end when the one that started it does."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  parent = multiprocessing.parent_process()

  def watch():
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


Example = tuple[dict[str, Any], dict[str, Any]]


def _examples(settings: BuildSettings, item: AudioFile) -> Iterator[Example]:
  """Yields what goes into the shard, and into the manifest, of each piece."""
  with naming(item):
    digest = files.sha256(item.path)
    for piece in read_pieces(item.path, settings.max_seconds):
      example, entry = _example(settings, item, piece)
      yield example, {**entry, "sha256": digest}


def _example(settings: BuildSettings, item: AudioFile, piece: Piece) -> Example:
  """Returns a piece, with the text where that is all that is said."""
  rate = piece.sample_rate
  if rate != settings.sample_rate and not settings.resample:
    raise DataError(
      f"{item}: has {rate} Hz and the set {settings.sample_rate}; sample_rate"
      " (--sample-rate) resamples all to one"
    )
  label = piece.label(item.id)
  audio_N = to_int16(resample(piece.audio_N, rate, settings.sample_rate))
  example = {"audio": audio_N, "id": label, "speaker": item.speaker}
  if settings.has_text:
    example["text"] = (piece.whole and item.text) or ""
  entry = {
    "id": label,
    "path": printable(item.path.relative_to(settings.root).as_posix()),
    "speaker": item.speaker,
    "seconds": round(len(audio_N) / settings.sample_rate, 6),
    "sample_rate": rate,
  }
  return example, entry if piece.whole else {**entry, "begin": piece.begin}


def _encoder(features):
  """Returns a serializer with a fixed order of features, which TFDS leaves open."""
  from tensorflow_datasets.core import example_serializer

  serializer = example_serializer.ExampleSerializer(features.get_serialized_info())

  def encode(example):
    proto = serializer.get_tf_example(features.encode_example(example))
    return proto.SerializeToString(deterministic=True)

  return encode
