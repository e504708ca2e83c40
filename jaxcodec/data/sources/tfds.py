"""A prepared TFDS data set as a source, read without TensorFlow."""

import dataclasses
import hashlib
import importlib.util
import os
import pathlib

import numpy as np
from array_record.python import array_record_module

from jaxcodec.data import extras
from jaxcodec.data.audio.files import check_samples
from jaxcodec.data.prepare import set_files
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import UNKNOWN_SPEAKER
from jaxcodec.data.sources.checked import DEFAULT_CACHE_BYTES, CheckedSource, Recording

_AUDIO = ("audio", "speech")
_TEXT = ("text_normalized", "normalized_text", "text", "transcript", "transcription")
_SPEAKER = ("speaker", "speaker_id")
_ID = ("id", "utterance_id")


def open_tfds(
  path: str | None = None,
  *,
  sample_rate: int,
  on_error: str = "raise",
  name: str = "",
  split: str = "train",
  native_rate: int | None = None,
  cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> CheckedSource:
  """Opens a set that was prepared with `file_format="array_record"`.

  Audio, text, speaker and id are the features with the usual names, of which only audio
  is required. Integer samples are taken as 16-bit, as TFDS stores them.

  Args:
    path: the set's own folder or any above it; TFDS's default where None.
    sample_rate: see `open_source`.
    on_error: see `open_source`.
    name: picks one set below `path`, as `vctk` or `vctk/mic/1.0.0`.
    split: in TFDS's syntax, as `train[:10%]`.
    native_rate: Hz, where the set's features do not tell.
    cache_bytes: memory for decoded audio.

  Raises:
    DataError: not one such set, no such split, unknown features or rate, bad audio.
  """
  directory = _find_set(path, name)
  set_files.check(directory)
  info, examples = _open(directory, split)
  # What `jaxcodec data build` writes has it in its metadata.
  native_rate = native_rate or (info.metadata or {}).get("sample_rate")
  columns = _columns(directory, info.features, native_rate)
  items = [_Example(directory, split, index) for index in range(len(examples))]
  return CheckedSource(
    f"{directory} {split}",
    items,
    lambda item: columns.recording(_read(examples, item), item),
    sample_rate=sample_rate,
    on_error=on_error,
    cache_bytes=cache_bytes,
  )


@dataclasses.dataclass(frozen=True)
class _Example:
  directory: pathlib.Path
  split: str
  index: int

  def __str__(self):
    return f"{self.directory}: {self.split} example {self.index}"


@dataclasses.dataclass(frozen=True)
class _Columns:
  """Names of the features by what they hold; None where the set has none."""

  features: dict
  audio: str
  text: str | None
  speaker: str | None
  id: str | None
  rate: int

  def recording(self, example, item):
    audio = np.asarray(example[self.audio])
    scale = 2.0**-15 if np.issubdtype(audio.dtype, np.integer) else 1.0
    audio_N = audio.astype(np.float32) * np.float32(scale)
    if audio_N.ndim == 2:
      audio_N = audio_N.mean(axis=1)
    check_samples(audio_N, str(item))
    key = self._label(example, self.id) or f"{item.split}-{item.index:06d}"
    speaker = self._label(example, self.speaker) or UNKNOWN_SPEAKER
    digest = lambda: hashlib.sha256(audio.tobytes()).hexdigest()  # noqa: E731
    text = self._label(example, self.text) or None
    return Recording(key, speaker, text, audio_N, self.rate, digest)

  def _label(self, example, name):
    if name is None:
      return None
    value = example[name]
    if value is None:
      return None
    if isinstance(value, bytes):
      return value.decode()
    if hasattr(self.features[name], "int2str"):
      return self.features[name].int2str(int(value))
    return str(value)


def _find_set(path, name):
  """Returns the newest version of the only set below `path` that fits `name`."""
  default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
  root = pathlib.Path(path or default).expanduser()
  if not root.is_dir():
    raise DataError(f"data.path: {root} is not a folder")
  folders = [file.parent for file in root.rglob("dataset_info.json")]
  if name:
    folders = [folder for folder in folders if f"/{name}/" in f"{folder.as_posix()}/"]
  sets = {folder.parent: folder for folder in sorted(folders, key=_version)}
  if len(sets) != 1:
    found = ", ".join(str(folder) for folder in sets) or "none"
    raise DataError(
      f"data.path: expected one prepared TFDS set {name!r} under {root}, found {found};"
      " data.options.name picks one"
    )
  return next(iter(sets.values()))


def _version(folder):
  return [int(part) if part.isdigit() else -1 for part in folder.name.split(".")]


def _open(directory, split):
  tfds = extras.import_modules(
    "tensorflow-datasets",
    "tensorflow_datasets",
    field="data.source='tfds'",
    extra="tfds",
  )[0]
  _patch_audio_feature()
  try:
    builder = tfds.builder_from_directory(directory)
    examples = builder.as_data_source(split)
    shards = builder.info.splits[split].file_instructions
  except Exception as error:  # TFDS raises whatever its parts raise.
    raise DataError(
      f"{directory}: cannot read split {split!r} (the set must be prepared with"
      f" file_format='array_record'): {error}"
    ) from error
  for shard in shards:
    _check_length(pathlib.Path(shard.filename), shard.examples_in_shard)
  return builder.info, examples


def _check_length(path, expected):
  """Raises `DataError` if a shard has lost records, which TFDS doesn't check."""
  try:
    found = array_record_module.ArrayRecordReader(str(path)).num_records()
  except Exception as error:  # the reader has no exceptions of its own
    raise DataError(f"{path}: cannot be read: {error}") from error
  if found != expected:
    raise DataError(
      f"{path}: holds {found} recordings, and dataset_info.json says {expected}"
    )


def _read(examples, item):
  """Returns an example; raises `DataError` if its record or a value is damaged."""
  try:
    return examples[item.index]
  except Exception as error:  # TFDS raises whatever its parts raise.
    raise DataError(f"{item}: cannot be read: {error!r}") from error


def _columns(directory, features, native_rate):
  def find(names):
    return next((name for name in names if name in features), None)

  audio = find(_AUDIO)
  if audio is None:
    raise DataError(
      f"{directory}: none of its features {sorted(features)} is {' or '.join(_AUDIO)}"
    )
  rate = native_rate or getattr(features[audio], "sample_rate", None)
  if not rate:
    raise DataError(
      f"{directory}: the feature {audio!r} does not tell its sample rate;"
      " set data.options.native_rate"
    )
  return _Columns(features, audio, find(_TEXT), find(_SPEAKER), find(_ID), int(rate))


def _patch_audio_feature():
  """Lets TFDS build its Audio feature without TensorFlow, asked only for a dtype."""
  if importlib.util.find_spec("tensorflow"):
    return
  from tensorflow_datasets.core.features import audio_feature

  def init(self, file_format, np_dtype, shape):
    self._file_format, self._np_dtype, self._dtype = file_format, np_dtype, np_dtype
    self._shape = shape
    self._channels = shape[1] if len(shape) > 1 else 1

  audio_feature._AudioDecoder.__init__ = init
