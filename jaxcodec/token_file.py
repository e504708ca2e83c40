"""Token files (`.jxc`): a header, codes in few bits and a checksum.

    magic "JXC\\n" | version u16 | bytes of the header u32 | header | codes of all clips
    | CRC-32 of everything before, u32

Integers are little-endian. The header is JSON in UTF-8. In version 1, the default, it
can be read as it stands, and a code takes ceil(log2 codebook_size) bits, frame by
frame, high bit first. In version 2 the header is deflated and the codes are coded
under a model, see `coding.adaptive`. docs/token_file.md has both to the bit. Reading
executes nothing.
"""

import dataclasses
import json
import os
import pathlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcodec import __version__, files
from jaxcodec.coding import adaptive

SUFFIX = ".jxc"
MAGIC, PLAIN, SMALL = b"JXC\n", 1, 2  # versions
ADAPTIVE = "adaptive"  # the coding of version 2, in its header
# What deflate may refer to: a header with what most of them have.
DICTIONARY = (
  b'{"coding":"adaptive","fingerprint":"0123456789abcdef","frames":[],"gains":null,'
  b'"gaps":[[]],"num_channels":2,"num_codebooks":8,"num_samples":[],"sample_rate":'
  b'16000,"spec":{"codebook_size":1024,"hop":320,"num_codebooks":8,"sample_rate":'
  b'16000},"version":"0.1.0"}'
)
_LONGEST_HEADER = 1 << 28  # bytes
_PREFIX, _CRC = struct.Struct("<4sHI"), struct.Struct("<I")
_SPEC = ("num_codebooks", "codebook_size", "hop", "sample_rate")


@dataclasses.dataclass(frozen=True)
class TokenFile:
  """The content of a token file: one clip or several.

  Attributes:
    spec: the fields of the codec's `TokenSpec`.
    codes: integers (T, K) of each clip, K the same for all, at most the spec's.
    gaps: for each clip, the indices of its invalid frames.
    num_samples: length of each clip's audio, at `sample_rate`.
    sample_rate: of the audio before it was resampled for the codec, Hz.
    fingerprint: of the codec's weights.
    gains: for each clip, one a segment; None if the codec doesn't normalise.
    version: of the package that wrote the file.
    num_channels: how many clips in succession are the channels of one recording.
  """

  spec: Mapping[str, int]
  codes: Sequence[np.ndarray]
  gaps: Sequence[Sequence[int]]
  num_samples: Sequence[int]
  sample_rate: int
  fingerprint: str
  gains: Sequence[Sequence[float]] | None = None
  version: str = __version__
  num_channels: int = 1


def write(
  path: str | os.PathLike, content: TokenFile, *, entropy: bool = False
) -> None:
  """Writes the file whole or not at all.

  Args:
    path: usually ends in `.jxc`.
    content: to write.
    entropy: write version 2, which is smaller and takes longer.

  Raises:
    ValueError: codes that the spec does not allow, or no clips.
  """
  codes = [np.asarray(codes_TxK) for codes_TxK in content.codes]
  header = {
    **{f.name: getattr(content, f.name) for f in dataclasses.fields(content)},
    "spec": dict(content.spec),
    "frames": [len(codes_TxK) for codes_TxK in codes],
    "num_codebooks": codes[0].shape[1] if codes and codes[0].ndim == 2 else 0,
  }
  del header["codes"]
  if content.num_channels == 1:
    del header["num_channels"]  # as files had it before there were others
  if problem := _problem(header) or _bad_codes(codes, header):
    raise ValueError(f"{path}: cannot be written: {problem}")
  version, text, packed = (_small if entropy else _plain)(header, codes)
  body = _PREFIX.pack(MAGIC, version, len(text)) + text + packed
  files.write_bytes(path, body + _CRC.pack(zlib.crc32(body)))


def _plain(
  header: dict[str, Any], codes: Sequence[np.ndarray]
) -> tuple[int, bytes, bytes]:
  """Returns the version, the header and the codes as they are written."""
  text = json.dumps(header, sort_keys=True, allow_nan=False).encode()
  flat = np.concatenate([codes_TxK.ravel() for codes_TxK in codes])
  return PLAIN, text, pack(flat, _bits(header))


def _small(
  header: dict[str, Any], codes: Sequence[np.ndarray]
) -> tuple[int, bytes, bytes]:
  text = json.dumps(
    {**header, "coding": ADAPTIVE},
    sort_keys=True,
    allow_nan=False,
    separators=(",", ":"),
  )
  deflate = zlib.compressobj(9, zdict=DICTIONARY)
  stored = deflate.compress(text.encode()) + deflate.flush()
  return SMALL, stored, adaptive.encode(codes, _bits(header))


def read(path: str | os.PathLike) -> TokenFile:
  """Reads a file that `write` wrote; codes are int32.

  Raises:
    FileNotFoundError: no such file.
    ValueError: naming the file, if truncated, altered, newer or of another format.
  """
  version, header, packed = _split(path)
  codes = (_read_small if version == SMALL else _read_plain)(path, header, packed)
  if max(codes_TxK.max() for codes_TxK in codes) >= header["spec"]["codebook_size"]:
    raise ValueError(f"{path}: holds codes beyond its codebooks' size")
  names = {field.name for field in dataclasses.fields(TokenFile)} - {"codes"}
  return TokenFile(
    codes=codes, **{name: header[name] for name in names & header.keys()}
  )


def _read_plain(
  path: str | os.PathLike, header: Mapping[str, Any], packed: bytes
) -> list[np.ndarray]:
  count = sum(header["frames"]) * header["num_codebooks"]
  if len(packed) != -(-count * _bits(header) // 8):
    raise ValueError(f"{path}: its codes do not fill the frames that its header tells")
  flat = unpack(packed, _bits(header), count)
  codes_TxK = flat.astype(np.int32).reshape(-1, header["num_codebooks"])
  return np.split(codes_TxK, np.cumsum(header["frames"])[:-1])


def _read_small(
  path: str | os.PathLike, header: Mapping[str, Any], packed: bytes
) -> list[np.ndarray]:
  try:
    return adaptive.decode(
      packed, header["frames"], header["num_codebooks"], _bits(header)
    )
  except ValueError as error:
    raise ValueError(
      f"{path}: its codes do not fill the frames that its header tells: {error}"
    ) from error


def read_header(path: str | os.PathLike) -> dict[str, Any]:
  """Reads the header, having checked the whole file. Raises as `read` does."""
  return _split(path)[1]


def pack(codes: np.ndarray, bits: int) -> bytes:
  """Packs codes (n,) below 2**bits to `bits` (1 to 16) bits each, high bit first."""
  pairs = codes.astype(">u2").view(np.uint8).reshape(-1, 2)
  return np.packbits(np.unpackbits(pairs, axis=1)[:, 16 - bits :]).tobytes()


def unpack(packed: bytes, bits: int, count: int) -> np.ndarray:
  """Undoes `pack`: returns `count` codes, uint16."""
  flat = np.unpackbits(np.frombuffer(packed, np.uint8), count=count * bits)
  wide = np.zeros((count, 16), np.uint8)
  wide[:, 16 - bits :] = flat.reshape(count, bits)
  return np.packbits(wide, axis=1).view(">u2").ravel().astype(np.uint16)


def _bits(header: Mapping[str, Any]) -> int:
  return max(1, (header["spec"]["codebook_size"] - 1).bit_length())


def _split(path: str | os.PathLike) -> tuple[int, dict[str, Any], bytes]:
  """Returns the version, the header and the packed codes, as the checksum has them."""
  data = pathlib.Path(path).read_bytes()
  if not data.startswith(MAGIC):
    raise ValueError(f"{path}: is not a token file: it begins with {data[:4]!r}")
  if len(data) < _PREFIX.size + _CRC.size:
    raise ValueError(f"{path}: is truncated: it has {len(data)} bytes")
  _, version, length = _PREFIX.unpack_from(data)
  if version not in (PLAIN, SMALL):
    raise ValueError(
      f"{path}: is a token file of version {version}, or was altered; this package"
      f" reads versions {PLAIN} and {SMALL}"
    )
  body, (checksum,) = data[: -_CRC.size], _CRC.unpack(data[-_CRC.size :])
  if zlib.crc32(body) != checksum:
    raise ValueError(f"{path}: is truncated or was altered: its checksum is wrong")
  start = _PREFIX.size + length
  return version, _header(path, body[_PREFIX.size : start], version), body[start:]


def _header(path: str | os.PathLike, stored: bytes, version: int) -> dict[str, Any]:
  try:
    header = json.loads(_inflated(stored) if version == SMALL else stored)
    problem = _problem(header)
    if version == SMALL and header["coding"] != ADAPTIVE:
      problem = f"codes are {ADAPTIVE} in this version, got {header['coding']!r}"
  except (ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
    problem = repr(error)
  if problem:
    raise ValueError(f"{path}: its header makes no sense: {problem}")
  return header


def _inflated(stored: bytes) -> bytes:
  inflate = zlib.decompressobj(zdict=DICTIONARY)
  text = inflate.decompress(stored, _LONGEST_HEADER)
  if not inflate.eof or inflate.unused_data:
    raise ValueError("it does not end where the file says")
  return text


def _problem(header: Mapping[str, Any]) -> str | None:
  """Says what is wrong with a header; None if nothing is."""
  spec, frames = header["spec"], header["frames"]
  if set(spec) != set(_SPEC) or not all(map(_positive, spec.values())):
    return f"the spec must be positive integers {_SPEC}, got {spec}"
  if spec["codebook_size"] > 1 << 16:
    return f"codebooks of {spec['codebook_size']} codes; at most {1 << 16} fit"
  K = header["num_codebooks"]
  if not _positive(K) or K > spec["num_codebooks"]:
    return f"num_codebooks must be 1 to {spec['num_codebooks']}, got {K}"
  if not frames or not all(map(_positive, [*frames, *header["num_samples"]])):
    return "there must be clips, each with at least one frame and sample"
  for name in ("num_samples", "gaps", "gains"):
    if header[name] is not None and len(header[name]) != len(frames):
      return f"{len(frames)} clips, but {name} for {len(header[name])}"
  for count, gaps in zip(frames, header["gaps"], strict=True):
    if not all(type(gap) is int and 0 <= gap < count for gap in gaps):
      return f"gaps must be frames of the clip, 0 to {count - 1}, got {gaps}"
  gains = header["gains"] or []
  if len({len(row) for row in gains}) > 1 or not np.isfinite(gains).all():
    return "gains must be finite, as many for each clip"
  channels = header.get("num_channels", 1)
  if not _positive(channels) or len(frames) % channels:
    return f"{len(frames)} clips are no recordings of {channels!r} channels"
  if not _positive(header["sample_rate"]):
    return f"sample_rate must be a positive integer, got {header['sample_rate']!r}"
  for name in ("fingerprint", "version"):
    if not isinstance(header[name], str):
      return f"{name} must be a string, got {header[name]!r}"
  return None


def _bad_codes(codes: Sequence[np.ndarray], header: Mapping[str, Any]) -> str | None:
  size, K = header["spec"]["codebook_size"], header["num_codebooks"]
  for codes_TxK in codes:
    if codes_TxK.ndim != 2 or codes_TxK.shape[1] != K:
      return f"codes must be (T, {K}), got {codes_TxK.shape}"
    if not np.issubdtype(codes_TxK.dtype, np.integer):
      return f"codes must be integers, got {codes_TxK.dtype}"
    if codes_TxK.min() < 0 or codes_TxK.max() >= size:
      return f"codes must be 0 to {size - 1}"
  return None


def _positive(value: Any) -> bool:
  return type(value) is int and 0 < value < 1 << 48
