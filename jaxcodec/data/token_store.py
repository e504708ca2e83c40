"""Token records on disk: array_record files of msgpack, written in one step."""

import os
import pathlib
import threading
from collections.abc import Iterable, Sequence

import msgpack
import numpy as np
from array_record.python import array_record_module

from jaxcodec import files
from jaxcodec.data.source import DataError

REQUIRED = ("id", "speaker", "text", "codes_TxK", "semantic_T")
_ARRAY = "__array__"


def write_tokens(path: str | os.PathLike, records: Iterable[dict]) -> int:
  """Writes `records` to `path` in one step and returns how many there were.

  Args:
    path: the file; its folder is made.
    records: dicts with the fields in `REQUIRED`, and any others of types that msgpack
      or numpy have. `codes_TxK` and `semantic_T` are integer arrays of one length
      T > 0. `text_S`, where present, has the ids of the text's symbols, S > 0.

  Raises:
    DataError: a record lacks a field or its arrays do not fit, or there are none.
  """
  count = 0
  with files.replacing(path) as part:
    writer = _writer(part)
    for record in records:
      _check_record(record)
      writer.write(msgpack.packb(record, default=_pack_array))
      count += 1
    writer.close()
    if not count:
      raise DataError(f"{path}: there are no token records to write")
  return count


def join_tokens(path: str | os.PathLike, parts: Sequence[str | os.PathLike]) -> None:
  """Joins files of `write_tokens`: the bytes are those of one written at once.

  Raises:
    DataError: there are no parts, or one is not a whole token file; names it.
  """
  if not parts:
    raise DataError(f"{path}: there are no token records to write")
  with files.replacing(path) as whole:
    writer = _writer(whole)
    for part in parts:
      try:
        reader = array_record_module.ArrayRecordReader(str(part))
        for data in reader.read_all():
          writer.write(data)
      except Exception as error:  # noqa: BLE001 - it has no exceptions of its own
        raise DataError(f"{part}: is not a whole token file ({error})") from error
    writer.close()


class TokenSource:
  """The records of a file by index; opening it reads all of them once.

  Attributes:
    labels: for each record its `id`, `speaker`, `text` and `frames`, and
      `symbols` where it has `text_S`, `samples` where it has these.
    num_codebooks: K, the same in all.
  """

  def __init__(self, path: str | os.PathLike):
    self.path = pathlib.Path(path)
    self._lock = threading.Lock()
    if not self.path.is_file():
      raise DataError(f"{self.path}: no such token file")
    try:
      self._reader = array_record_module.ArrayRecordReader(str(self.path))
      self._length = self._reader.num_records()
    except Exception as error:  # noqa: BLE001 - the reader has no exceptions of its own
      raise self._broken(error) from error
    if not self._length:
      raise self._broken("it holds no records")
    self.labels = [self._label(index) for index in range(self._length)]
    codebooks = {label.pop("codebooks") for label in self.labels}
    if len(codebooks) > 1:
      raise self._broken(f"its records differ in codebooks: {sorted(codebooks)}")
    self.num_codebooks = codebooks.pop()

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, index: int) -> dict:
    """Returns a record as it was written; raises IndexError past the last."""
    if index >= self._length:
      raise IndexError(index)
    try:
      with self._lock:
        data = self._reader.read([index])[0]
      return msgpack.unpackb(data, object_hook=_unpack_array)
    except Exception as error:  # noqa: BLE001
      raise self._broken(f"record {index}: {error}") from error

  def _label(self, index):
    record = self[index]
    frames, codebooks = record["codes_TxK"].shape
    label = {key: record[key] for key in ("id", "speaker", "text")}
    if "text_S" in record:
      label["symbols"] = len(record["text_S"])
    if "samples" in record:
      label["samples"] = record["samples"]
    return {**label, "frames": frames, "codebooks": codebooks}

  def _broken(self, why):
    return DataError(
      f"{self.path}: is not a whole token file ({why}); delete it and make it again"
    )


def _writer(path):
  # Groups of one record make each readable on its own.
  return array_record_module.ArrayRecordWriter(str(path), "group_size:1")


def _check_record(record):
  if missing := [field for field in REQUIRED if field not in record]:
    raise DataError(f"token record {record.get('id')!r} lacks {missing}")
  codes_TxK, semantic_T = record["codes_TxK"], record["semantic_T"]
  shapes = f"codes_TxK {np.shape(codes_TxK)}, semantic_T {np.shape(semantic_T)}"
  integers = _is_integers(codes_TxK) and _is_integers(semantic_T)
  fits = integers and codes_TxK.ndim == 2 and semantic_T.shape == codes_TxK.shape[:1]
  if not fits or not codes_TxK.size:
    raise DataError(
      f"token record {record['id']!r}: expected integer arrays (T, K) and (T,) with"
      f" T > 0, got {shapes}"
    )
  text_S = record.get("text_S", np.ones(1, np.int32))
  if not _is_integers(text_S) or text_S.ndim != 1 or not text_S.size:
    raise DataError(
      f"token record {record['id']!r}: expected text_S of integers (S,) with S > 0"
    )


def _is_integers(value):
  return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer)


def _pack_array(value):
  if isinstance(value, np.ndarray):
    return {_ARRAY: [value.dtype.str, value.shape, value.tobytes()]}
  if isinstance(value, np.generic):
    return value.item()
  raise TypeError(f"cannot store {type(value).__name__} in a token record")


def _unpack_array(value):
  if _ARRAY not in value:
    return value
  dtype, shape, data = value[_ARRAY]
  return np.frombuffer(data, dtype).reshape(shape)
