"""PyTorch's zip format (.pth, .th, .ckpt, .bin) read and written without PyTorch.

Reading executes nothing: the pickle inside may name tensors, ordered dicts and plain
data, and every other name is refused. Format: torch/csrc/jit/serialization and
torch/serialization.py; an archive holds `data.pkl` and one file a storage.
"""

import collections
import io
import math
import pathlib
import pickle
import zipfile
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

_DTYPES = {
  "DoubleStorage": np.dtype("<f8"),
  "FloatStorage": np.dtype("<f4"),
  "HalfStorage": np.dtype("<f2"),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
  "ShortStorage": np.dtype("<i2"),
  "CharStorage": np.dtype("i1"),
  "ByteStorage": np.dtype("u1"),
  "BoolStorage": np.dtype("?"),
}
_OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # its magic number, pickled
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of every member: equal weights, equal bytes


class _Refused(Exception):
  pass


class _Storage(NamedTuple):
  dtype: str
  key: str
  size: int


class _Tensor(NamedTuple):
  """A tensor that is still in its archive."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _StorageType(NamedTuple):
  name: str


def _rebuild_tensor(storage, offset, shape, strides, *_):
  return _Tensor(_Storage(*storage), int(offset), tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_):
  return _Tensor(*tensor)


_ALLOWED = {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
  ("torch", "Size"): tuple,
  **{("torch", name): _StorageType(name) for name in _DTYPES},
}


class _Unpickler(pickle.Unpickler):
  def find_class(self, module, name):
    if (module, name) not in _ALLOWED:
      raise _Refused(f"{module}.{name}")
    return _ALLOWED[module, name]

  def persistent_load(self, pid):
    kind, dtype, key, _, size = pid
    if kind != "storage":
      raise pickle.UnpicklingError(f"unknown kind of data {kind!r}")
    return _Storage(dtype.name, str(key), int(size))


def load(path: str | pathlib.Path) -> Any:
  """What `torch.save` wrote, with numpy arrays for tensors.

  Raises:
    ValueError: naming the file, if it is not such a file, is truncated, is in the
      format of before torch 1.6, or names anything but tensors and plain data.
  """
  content = pathlib.Path(path).read_bytes()
  if content.startswith(_OLD_FORMAT):
    raise ValueError(
      f"{path} is in torch's format of before 1.6, which only torch reads: load it"
      " there and save it again with torch.save"
    )
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      return _load(archive, len(content))
  except _Refused as error:
    raise ValueError(
      f"{path} names {error}, which is neither a tensor nor plain data; it was not"
      " executed. Save the state dict alone"
    ) from None
  except Exception as error:  # a hostile file can make pickle and zip raise anything
    raise ValueError(
      f"{path} is truncated or not written by torch.save"
      f" ({type(error).__name__}: {error})"
    ) from None


def _load(archive: zipfile.ZipFile, size: int) -> Any:
  if sum(member.file_size for member in archive.infolist()) > size:
    raise ValueError("it holds more than its size")  # compressed: torch never does
  names = {name.split("/", 1)[-1]: name for name in archive.namelist()}
  if "byteorder" in names and archive.read(names["byteorder"]) != b"little":
    raise ValueError("not little-endian")
  tree = _Unpickler(io.BytesIO(archive.read(names["data.pkl"]))).load()
  storages: dict[str, bytes] = {}

  def array(tensor: _Tensor) -> np.ndarray:
    key = tensor.storage.key
    if key not in storages:
      storages[key] = archive.read(names[f"data/{key}"])
    return _view(tensor, storages[key])

  return _replaced(tree, array, {})


def _view(tensor: _Tensor, content: bytes) -> np.ndarray:
  """A read-only view of its storage, whose bounds numpy checks."""
  dtype = _DTYPES[tensor.storage.dtype]
  if 0 in tensor.shape:
    return np.zeros(tensor.shape, dtype)
  strides = tuple(step * dtype.itemsize for step in tensor.strides)
  return np.ndarray(
    tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides
  )


def _replaced(tree, array, done):
  """Plain dicts, lists and tuples with arrays for tensors; `done` by identity."""
  if id(tree) in done:
    return done[id(tree)]
  new = tree
  if isinstance(tree, _Tensor):
    new = array(tree)
  elif isinstance(tree, dict):
    new = {name: _replaced(child, array, done) for name, child in tree.items()}
  elif isinstance(tree, list | tuple):
    new = type(tree)(_replaced(child, array, done) for child in tree)
  done[id(tree)] = new
  return new


class _Global(NamedTuple):
  """A name that is written but need not exist here."""

  module: str
  name: str

  def __call__(self):
    """Never called: pickle wants something callable in its place."""


class _Pickler(pickle._Pickler):  # the one in Python, whose `save` can be extended
  def __init__(self, file):
    super().__init__(file, protocol=2)
    self.storages: list[np.ndarray] = []

  def save(self, obj, save_persistent_id=True):
    if isinstance(obj, _Global):
      self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
    else:
      super().save(obj, save_persistent_id)

  def persistent_id(self, obj):
    if not isinstance(obj, _Storage):
      return None
    return ("storage", _Global("torch", obj.dtype), obj.key, "cpu", obj.size)

  def reducer_override(self, obj):
    if not isinstance(obj, np.ndarray):
      return NotImplemented
    names = [name for name, dtype in _DTYPES.items() if dtype == obj.dtype]
    if not names:
      raise ValueError(f"torch has no storage of {obj.dtype}")
    storage = _Storage(names[0], str(len(self.storages)), obj.size)
    self.storages.append(obj)
    strides = tuple(math.prod(obj.shape[i + 1 :]) for i in range(obj.ndim))
    hooks = collections.OrderedDict()
    arguments = (storage, 0, obj.shape, strides, False, hooks)
    return _Global("torch._utils", "_rebuild_tensor_v2"), arguments


def dumps(tree: Any) -> bytes:
  """Bytes that `torch.load` reads, from arrays in dicts, lists and plain data."""
  file = io.BytesIO()
  pickler = _Pickler(file)
  pickler.dump(tree)
  members = {"data.pkl": file.getvalue(), "byteorder": b"little"}
  for key, array in enumerate(pickler.storages):
    members[f"data/{key}"] = array.tobytes()
  members["version"] = b"3\n"
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
    for name, content in members.items():
      archive.writestr(zipfile.ZipInfo(f"archive/{name}", _FIRST_DATE), content)
  return out.getvalue()
