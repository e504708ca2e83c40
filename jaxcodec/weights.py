"""Reads and writes parameters as safetensors files; equal values give equal bytes."""

import hashlib
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from jaxcodec import files, narrow_weights

FILE = "params.safetensors"
CHECKSUM = "checksum"  # header field with the sha256 of all the rest
BUFFERS = "buffers"  # arrays of an imported file that aren't weights, e.g. windows


def save_params(
  path: files.PathLike,
  variables: Any,
  metadata: Mapping[str, str] | None = None,
  *,
  bits: int = 32,
) -> str:
  """Writes nested dicts of arrays, atomically; returns the file's sha256.

  Keys are joined as `a/b/c`. Floats are written as float32, the rest as they are.

  Args:
    path: usually ends in `params.safetensors`.
    variables: nested dicts of arrays.
    metadata: strings for the header.
    bits: of each float, 32, 16 or 8; see `narrow_weights`. All are read as float32.

  Raises:
    ValueError: naming a key that holds a slash, a value of metadata that isn't a
      string, other `bits`, or an array with values that float16 cannot hold.
  """
  for key, value in (metadata or {}).items():
    if not isinstance(value, str):
      raise ValueError(f"metadata {key!r} must be a string, got {value!r}")
  tensors = {key: _tensor(value) for key, value in _flatten(jax.device_get(variables))}
  content = safetensors.numpy.save(narrow_weights.narrow(tensors, bits))
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
    flat = {key: a for key, a in flat.items() if not key.startswith(f"{BUFFERS}/")}
    _compare(path, flat, dict(_flatten(like)))
  return traverse_util.unflatten_dict(flat, sep="/")


def restore_weight_norm(
  path: files.PathLike, variables: Any, like: Any
) -> dict[str, Any]:
  """Returns variables that training can start from, with weight norms as in `like`.

  Where a scale was folded into its kernel, it becomes the norm of the kernel.

  Args:
    path: the file that the variables come from, for errors.
    variables: nested dicts of arrays; `buffers` among them are dropped.
    like: nested dicts of arrays or `ShapeDtypeStruct`s.

  Raises:
    ValueError: lists every parameter that is missing, left over or of another shape.
  """
  flat = {k: v for k, v in _flatten(variables) if not k.startswith(f"{BUFFERS}/")}
  wanted = dict(_flatten(like))
  _compare(path, flat, wanted)
  for key in wanted.keys() - flat.keys():
    kernel = np.asarray(flat[f"{key.removesuffix('scale')}kernel"])
    axes = tuple(i for i, size in enumerate(wanted[key].shape) if size == 1)
    flat[key] = np.sqrt(np.sum(kernel * kernel, axes, keepdims=True))
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


def fingerprint(variables: Any) -> str:
  """Returns the sha256 of names and values, whatever their order and device."""
  digest = hashlib.sha256()
  for key, value in _flatten(jax.device_get(variables)):
    tensor = _tensor(value)
    digest.update(f"{key} {tensor.dtype.str} {tensor.shape}\n".encode())
    digest.update(tensor.data)
  return digest.hexdigest()


def only_parts(variables: Any, parts: Collection[str]) -> dict[str, Any]:
  """Returns a codec's variables, of its parts with these names alone."""
  found = {
    collection: {name: value for name, value in by_part.items() if name in parts}
    for collection, by_part in variables.items()
    if collection != BUFFERS
  }
  return {collection: by_part for collection, by_part in found.items() if by_part}


def token_fingerprint(variables: Any) -> str:
  """Returns the fingerprint of what makes a codec's tokens: all but the decoder."""
  return fingerprint(only_parts(variables, ("encoder", "quantizer")))


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  with _open(path) as file:
    checksum = (file.metadata() or {}).get(CHECKSUM)
    tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
  if checksum is not None and checksum != _checksum(*_split(path.read_bytes())):
    raise ValueError(f"{path} was altered: its checksum is wrong")
  tensors = narrow_weights.widen(tensors)
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


def _flatten(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """Yields (path, leaf) pairs, sorted by the keys of each level."""
  for keys, leaf in sorted(traverse_util.flatten_dict(tree).items()):
    for depth, key in enumerate(keys):
      if "/" in key:
        parent = "/".join(keys[:depth]) or "the top level"
        raise ValueError(f"key {key!r} in {parent!r} holds a slash")
    yield "/".join(keys), leaf


def _tensor(value: Any) -> np.ndarray:
  array = np.asarray(value)
  if jax.numpy.issubdtype(array.dtype, np.floating):
    array = array.astype(np.float32)
  return np.ascontiguousarray(array).reshape(array.shape)


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


def _compare(
  path: files.PathLike, found: dict[str, Any], expected: dict[str, Any]
) -> None:
  missing = expected.keys() - found.keys() - _folded(found, expected)
  lines = [f"missing: {key}" for key in sorted(missing)]
  lines += [f"left over: {key}" for key in sorted(found.keys() - expected.keys())]
  for key in sorted(found.keys() & expected.keys()):
    shape, wanted = tuple(found[key].shape), tuple(expected[key].shape)
    if shape != wanted:
      lines.append(f"misshapen: {key} is {shape}, expected {wanted}")
  if lines:
    raise ValueError(f"{path} doesn't fit the model:\n  " + "\n  ".join(lines))


def _folded(found: dict[str, Any], expected: dict[str, Any]) -> set[str]:
  """Returns the weight norms' scales if `found` has none of them, else nothing.

  Either all norms of a model are folded, or a missing one is an error.
  """
  kernels = [key for key in found if key.endswith("/kernel")]
  scales = {f"{key.removesuffix('kernel')}scale" for key in kernels} & expected.keys()
  return set() if scales & found.keys() else scales
