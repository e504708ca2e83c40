"""Reads the token files of the published codecs: DAC's `.dac`, EnCodec's `.ecdc`.

Nothing in them is executed: of the pickle inside a `.dac` file, only arrays and plain
data are read, and any other name is refused.
"""

import ast
import io
import json
import math
import pathlib
import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxcodec import files
from jaxcodec.types import Tokens

_ECDC, _ECDC_VERSION, _ECDC_BITS = struct.Struct("!4sBI"), 0, 10
# Rate in Hz and hop of the models whose tokens are one segment.
_ECDC_MODELS = {"encodec_24khz": (24_000, 320)}
_NUMPY = b"\x93NUMPY"


class PublishedTokens(NamedTuple):
  """The content of a published codec's token file.

  Attributes:
    tokens: of one clip, or an item for each channel, without an origin.
    num_samples: length of the audio at `sample_rate`.
    sample_rate: of the audio, Hz.
    about: what else the file says: `model`, or DAC's `input_db` and `channels`.
  """

  tokens: Tokens
  num_samples: int
  sample_rate: int
  about: dict[str, Any]


def read(path: files.PathLike) -> PublishedTokens:
  """Reads a `.dac` or `.ecdc` file, whichever its content is.

  Raises:
    FileNotFoundError: there is none.
    ValueError: naming the file, if it is cut, of another format, or holds what isn't
      read: codes that EnCodec's language model packed, segments of its 48 kHz model.
  """
  content = pathlib.Path(path).read_bytes()
  try:
    if content.startswith(b"ECDC"):
      return _read_ecdc(content)
    if content.startswith(_NUMPY):
      return _read_dac(content)
  except _Refused as error:
    raise ValueError(f"{path}: {error}") from None
  except Exception as error:  # a hostile file can make pickle raise anything
    raise ValueError(
      f"{path}: is truncated or damaged ({type(error).__name__}: {error})"
    ) from None
  raise ValueError(f"{path}: is neither a .dac nor an .ecdc file")


class _Refused(Exception):
  """What the file holds isn't read."""


def _read_ecdc(content: bytes) -> PublishedTokens:
  _, version, length = _ECDC.unpack_from(content)
  start = _ECDC.size + length
  about = json.loads(content[_ECDC.size : start])
  name, num_samples, K = about["m"], about["al"], about["nc"]
  if version != _ECDC_VERSION or name not in _ECDC_MODELS:
    raise _Refused(f"is of {name}, version {version}; read are {[*_ECDC_MODELS]}")
  if about["lm"]:
    raise _Refused("was packed by EnCodec's language model; write it without (use_lm)")
  rate, hop = _ECDC_MODELS[name]
  frames = math.ceil(num_samples / hop)
  octets = np.frombuffer(content[start:], np.uint8)
  bits = np.unpackbits(octets, bitorder="little")
  wanted = frames * K * _ECDC_BITS
  if len(bits) != -(-wanted // 8) * 8:
    raise _Refused(
      f"truncated: {len(octets)} bytes of codes, {frames} frames need more"
    )
  codes = bits[:wanted].reshape(frames, K, _ECDC_BITS) @ (1 << np.arange(_ECDC_BITS))
  tokens = Tokens.from_bkt(codes.T[None])
  return PublishedTokens(tokens, num_samples, rate, {"model": name})


def _read_dac(content: bytes) -> PublishedTokens:
  width = 2 if content[6] == 1 else 4
  start = 8 + width + int.from_bytes(content[8 : 8 + width], "little")
  header = ast.literal_eval(content[8 + width : start].decode("latin1"))
  if header["descr"] != "|O" or header["shape"] != ():
    raise _Refused("is an array, but not one of DAC's files")
  outer = _Unpickler(io.BytesIO(content[start:])).load()
  (tree,) = outer.items
  metadata = tree["metadata"]
  if not _plain(metadata.get("padding", True)):
    raise _Refused("was coded in windows that overlap; write it with win_duration=None")
  tokens = Tokens.from_bkt(_plain(tree["codes"]).astype(np.int32))
  about = {
    "input_db": np.asarray(_plain(metadata["input_db"])).ravel().tolist(),
    "channels": int(_plain(metadata["channels"])),
  }
  length, rate = (int(_plain(metadata[n])) for n in ("original_length", "sample_rate"))
  return PublishedTokens(tokens, length, rate, about)


class _Dtype:
  """Stands for numpy.dtype in a pickle."""

  def __init__(self, name: str, *_: Any):
    self.name, self.order = str(name), "<"

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    self.order = state[1]

  def array(self, content: bytes) -> np.ndarray:
    order = self.order if self.order in "<>" else "="
    return np.frombuffer(content, np.dtype(self.name).newbyteorder(order))


class _Array:
  """Stands for an array in a pickle: of numbers, or of one object."""

  items: list[Any]
  value: np.ndarray

  def __setstate__(self, state: tuple[Any, ...]) -> None:
    _, shape, dtype, by_columns, content = state
    if isinstance(content, list):
      self.items = content
    else:
      order = "F" if by_columns else "C"
      self.value = dtype.array(content).reshape(shape, order=order)


def _plain(value: Any) -> Any:
  return value.value if isinstance(value, _Array) else value


def _scalar(dtype: _Dtype, content: bytes) -> np.ndarray:
  return dtype.array(content)[0]


def _from_buffer(content: Any, dtype: _Dtype, shape: Any, order: str) -> np.ndarray:
  return dtype.array(bytes(content)).reshape(shape, order=order)


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
  ("numpy", "dtype"): _Dtype,
  ("numpy", "ndarray"): _Array,
  **{
    (f"numpy.{core}.{module}", name): function
    for core in ("core", "_core")
    for module, name, function in (
      ("multiarray", "_reconstruct", lambda *_: _Array()),
      ("multiarray", "scalar", _scalar),
      ("numeric", "_frombuffer", _from_buffer),
    )
  },
  ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
}


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in _ALLOWED:
      raise _Refused(f"names {module}.{name}, which was not executed")
    return _ALLOWED[module, name]
