"""Reads and writes parameters as safetensors files; equal values give equal bytes."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from jaxcodec import files
from jaxcodec.weights import narrow, trees

FILE = "params.safetensors"
CHECKSUM = "checksum"  # header field with the sha256 of all the rest


def save_params(
  path: files.PathLike,
  variables: Any,
  metadata: Mapping[str, str] | None = None,
  *,
  bits: int = 32,
) -> str:
  """Writes nested dicts of arrays, atomically; returns the file's sha256.

  Keys are joined as `a/b/c`. Floats are written as float32 or in fewer
  bits, the rest as it is.

  Args:
    path: usually ends in `params.safetensors`.
    variables: nested dicts of arrays.
    metadata: strings for the header.
    bits: of each float, 32, 16 or 8; see `weights.narrow`. All are read as float32.

  Raises:
    ValueError: naming a key that holds a slash, a value of metadata that isn't a
      string, other `bits`, or an array with values that float16 cannot hold.
  """
  for key, value in (metadata or {}).items():
    if not isinstance(value, str):
      raise ValueError(f"metadata {key!r} must be a string, got {value!r}")
  tensors = {
    key: trees.as_tensor(value)
    for key, value in trees.flatten(jax.device_get(variables))
  }
  content = safetensors.numpy.save(narrow.narrow(tensors, bits))
  content = _with_metadata(content, dict(metadata or {}))
  files.write_bytes(path, content)
  return files.sha256(path)


def load_params(path: files.PathLike, like: Any = None) -> dict[str, Any]:
  """Reads nested dicts of numpy arrays from a file that `save_params` wrote.

  Floats are float32, also where the file has them in 16 or 8 bits.

  Args:
    path: the file.
    like: nested dicts of arrays or `ShapeDtypeStruct`s that the file must match;
      `buffers` in the file are ignored then.

  Raises:
    FileNotFoundError, ValueError: naming the file, if it's absent, truncated, altered,
      holds NaN or infinity, or doesn't match `like`; lists every parameter that is
      missing, left over or of another shape.
  """
  flat = _read(pathlib.Path(path))
  if like is not None:
    flat = trees.without_buffers(flat)
    trees.compare(path, flat, dict(trees.flatten(like)))
  return traverse_util.unflatten_dict(flat, sep="/")


def load_metadata(path: files.PathLike) -> dict[str, str]:
  """Returns the header's strings; raises as `load_params` does."""
  with _open(pathlib.Path(path)) as file:
    metadata = dict(file.metadata() or {})
  metadata.pop(CHECKSUM, None)
  return metadata


def params_file(path: files.PathLike, stage: str) -> pathlib.Path:
  """Finds a stage's parameters below the stage's or the experiment's folder.

  Returns `path` itself if it is neither.

  Raises:
    FileNotFoundError: there is nothing at `path`.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(f"no weights at {path}")
  for name in (f"{stage}/{FILE}", FILE):
    if (path / name).is_file():
      return path / name
  return path


def is_params(path: files.PathLike) -> bool:
  """Tells whether `save_params` wrote the file: safetensors with `params/` keys.

  Raises:
    ValueError: it is called .safetensors, but is cut or of another format.
  """
  path = pathlib.Path(path)
  if path.suffix == ".safetensors" and path.is_file():
    with _open(path) as file:
      return any(key.startswith("params/") for key in file.keys())
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      return any(key.startswith("params/") for key in file.keys())
  except (OSError, safetensors.SafetensorError):
    return False


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  with _open(path) as file:
    checksum = (file.metadata() or {}).get(CHECKSUM)
    tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
  if checksum is not None and checksum != _checksum(*_split(path.read_bytes())):
    raise ValueError(f"{path} was altered: its checksum is wrong")
  tensors = narrow.widen(tensors)
  _refuse_nan(path, tensors)
  return tensors


def _refuse_nan(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Raises ValueError naming weights by which a codec would give noise or nothing."""
  bad = [name for name, array in tensors.items() if not np.isfinite(array).all()]
  if bad:
    raise ValueError(
      f"{path} holds NaN or infinity, in {len(bad)} of its {len(tensors)} arrays,"
      f" {', '.join(bad[:3])} among them"
    )


def _open(path: pathlib.Path) -> Any:
  if not path.is_file():
    raise FileNotFoundError(f"no parameters at {path}")
  try:
    return safetensors.safe_open(path, framework="numpy")
  except safetensors.SafetensorError as error:
    raise ValueError(
      f"{path} is truncated or isn't a safetensors file ({error})"
    ) from None


def _with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
  """Adds a checksum and the strings in sorted order; the library's order varies."""
  header, data = _split(content)
  header["__metadata__"] = {**metadata, CHECKSUM: ""}
  header["__metadata__"][CHECKSUM] = _checksum(header, data)
  text = _dump_header(header)
  text += b" " * (-len(text) % 8)  # data must start at a multiple of 8 bytes
  return len(text).to_bytes(8, "little") + text + data


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
  """Splits a file into header and data."""
  size = int.from_bytes(content[:8], "little")
  return json.loads(content[8 : 8 + size]), content[8 + size :]


def _dump_header(header: dict[str, Any]) -> bytes:
  return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _checksum(header: dict[str, Any], data: bytes) -> str:
  """Returns the sha256 of the header, without its checksum, and the data."""
  metadata = {**header["__metadata__"], CHECKSUM: ""}
  digest = hashlib.sha256(_dump_header({**header, "__metadata__": metadata}))
  digest.update(data)
  return digest.hexdigest()
