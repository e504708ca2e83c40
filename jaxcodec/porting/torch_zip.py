"""Reads and writes PyTorch's zip format (.pth, .th, .ckpt, .bin) without PyTorch.

Reading executes nothing from the file: the pickle inside may refer to tensors, ordered
dicts and plain data, and any other name is refused. An archive holds `data.pkl` and one
file for each storage, as in torch/csrc/jit/serialization and torch/serialization.py.
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
_OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # pickled magic number
# The date of every member, so that equal weights give equal bytes.
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


class _Refused(Exception):
  """The pickle refers to something that is neither a tensor nor plain data."""


class _Storage(NamedTuple):
  """A pickled reference to a storage: its type, file in the archive, and size."""

  dtype: str
  key: str
  size: int


class _Tensor(NamedTuple):
  """A tensor whose values are still in the archive."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _StorageType(NamedTuple):
  """Stands for a class such as `torch.FloatStorage`."""

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
  """Reads what `torch.save` wrote, with numpy arrays in place of tensors.

  Raises:
    ValueError: names the file, if `torch.save` did not write it, if it is truncated,
      from before torch 1.6, or refers to anything but tensors and plain data.
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
    # torch never compresses, so this may be a file made to fill the memory.
    raise ValueError("its content is larger than the file")
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

  return _replace_tensors(tree, array, {})


def _view(tensor: _Tensor, content: bytes) -> np.ndarray:
  """Returns a read-only view of the storage; numpy checks that it fits in there."""
  dtype = _DTYPES[tensor.storage.dtype]
  if 0 in tensor.shape:
    return np.zeros(tensor.shape, dtype)
  strides = tuple(step * dtype.itemsize for step in tensor.strides)
  return np.ndarray(
    tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides
  )


def _replace_tensors(tree, array, done):
  """Copies dicts, lists and tuples, with arrays in place of tensors.

  `done` maps the `id` of what was replaced to its copy, as tensors may be shared.
  """
  if id(tree) in done:
    return done[id(tree)]
  new = tree
  if isinstance(tree, _Tensor):
    new = array(tree)
  elif isinstance(tree, dict):
    new = {name: _replace_tensors(child, array, done) for name, child in tree.items()}
  elif isinstance(tree, list | tuple):
    new = type(tree)(_replace_tensors(child, array, done) for child in tree)
  done[id(tree)] = new
  return new


class _Global(NamedTuple):
  """A Python name to write into a pickle, whose module need not be installed."""

  module: str
  name: str

  def __call__(self):
    """Is never called; pickle insists on a callable."""


class _Pickler(pickle._Pickler):
  """Pickles arrays as torch pickles tensors, and collects them in `storages`.

  The base is pickle's pure Python version, whose `save` can be overridden.
  """

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
  """Returns bytes that `torch.load` reads.

  Args:
    tree: dicts, lists and plain data with numpy arrays, which become tensors.

  Raises:
    ValueError: torch has no storage for an array's dtype.
  """
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
      archive.writestr(zipfile.ZipInfo(f"archive/{name}", _FIXED_DATE), content)
  return out.getvalue()
