"""Token files (`.jxc`): a header, codes in few bits and a checksum.

    magic "JXC\\n" | version u16 | bytes of the header u32 | header | codes of all clips
    | CRC-32 of everything before, u32

Integers are little-endian. The header is JSON in UTF-8. In version 1, the default, it
can be read as it stands, and a code takes ceil(log2 codebook_size) bits, frame by
frame, high bit first. In version 2 the header is deflated and the codes are coded
under a model, see `coding.adaptive` and `coding.scored`. Versions 3 and 4 are 1 and 2
written as codes come, see `coding.growing`. docs/token_file.md has all to the bit.
Reading executes nothing.
"""

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcodec import __version__, files
from jaxcodec.coding import adaptive, by_language_model, deflated
from jaxcodec.coding.growing import Reader
from jaxcodec.coding.header import (
  ADAPTIVE,
  CRC,
  GROWING,
  GROWING_SMALL,
  MAGIC,
  PLAIN,
  PREFIX,
  SCORED,
  SMALL,
  bad_model,
  code_bits,
  problem,
  unknown_coding,
)
from jaxcodec.coding.packed import pack, unpack
from jaxcodec.coding.scored import Scores, ScoresOrName

SUFFIX = ".jxc"


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
  path: str | os.PathLike, content: TokenFile, *, entropy: bool | Scores = False
) -> None:
  """Writes the file whole or not at all.

  Args:
    path: usually ends in `.jxc`.
    content: to write.
    entropy: write version 2, which is smaller and takes longer; under a language
      model's scores if they are given (`api.load_code_scores`), without which nobody
      can read the file.

  Raises:
    ValueError: codes that the spec does not allow, no clips, or the language model of
      another codec.
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
  if wrong := problem(header) or _bad_codes(codes, header):
    raise ValueError(f"{path}: cannot be written: {wrong}")
  scores = None if isinstance(entropy, bool) else entropy
  if entropy:
    version, text, packed = _small(header, codes, scores)
  else:
    version, text, packed = _plain(header, codes)
  body = PREFIX.pack(MAGIC, version, len(text)) + text + packed
  files.write_bytes(path, body + CRC.pack(zlib.crc32(body)))


def _plain(
  header: dict[str, Any], codes: Sequence[np.ndarray]
) -> tuple[int, bytes, bytes]:
  """Returns the version, the header and the codes as they are written."""
  text = json.dumps(header, sort_keys=True, allow_nan=False).encode()
  flat = np.concatenate([codes_TxK.ravel() for codes_TxK in codes])
  return PLAIN, text, pack(flat, code_bits(header))


def _small(
  header: dict[str, Any], codes: Sequence[np.ndarray], scores: Scores | None
) -> tuple[int, bytes, bytes]:
  if scores is None:
    fields: dict[str, Any] = {"coding": ADAPTIVE}
    packed = adaptive.encode(codes, code_bits(header))
  else:
    fields = {"coding": SCORED, "language_model": by_language_model.about(scores)}
    packed = by_language_model.encode(header, codes, scores)
  text = json.dumps(
    {**header, **fields}, sort_keys=True, allow_nan=False, separators=(",", ":")
  )
  return SMALL, deflated.deflate(text.encode(), fields["coding"]), packed


def read(path: str | os.PathLike, *, language_model: ScoresOrName = None) -> TokenFile:
  """Reads a file that `write` wrote; codes are int32.

  Args:
    path: of the file.
    language_model: under which its codes were coded: its scores, or what
      `api.load_code_scores` takes. None is that of the name in the file, if it comes
      with the package.

  Raises:
    FileNotFoundError: no such file.
    ValueError: naming the file, if truncated, altered, newer or of another format, or
      coded under another language model.
  """
  version, header, packed = _split(path)
  if version == SMALL and header["coding"] == SCORED:
    codes = _read_scored(path, header, packed, language_model)
  else:
    codes = _READERS[version](path, header, packed)
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
  if len(packed) != -(-count * code_bits(header) // 8):
    raise ValueError(f"{path}: its codes do not fill the frames that its header tells")
  flat = unpack(packed, code_bits(header), count)
  codes_TxK = flat.astype(np.int32).reshape(-1, header["num_codebooks"])
  return np.split(codes_TxK, np.cumsum(header["frames"])[:-1])


def _read_small(
  path: str | os.PathLike, header: Mapping[str, Any], packed: bytes
) -> list[np.ndarray]:
  try:
    return adaptive.decode(
      packed, header["frames"], header["num_codebooks"], code_bits(header)
    )
  except ValueError as error:
    raise ValueError(
      f"{path}: its codes do not fill the frames that its header tells: {error}"
    ) from error


def _read_scored(
  path: str | os.PathLike,
  header: Mapping[str, Any],
  packed: bytes,
  language_model: ScoresOrName,
) -> list[np.ndarray]:
  try:
    return by_language_model.decode(header, packed, language_model)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def _read_growing(
  path: str | os.PathLike, header: Mapping[str, Any], packed: bytes
) -> list[np.ndarray]:
  try:
    return [np.concatenate(Reader().feed(packed))]
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


_READERS = {PLAIN: _read_plain, SMALL: _read_small}
_READERS |= dict.fromkeys((GROWING, GROWING_SMALL), _read_growing)


def read_header(path: str | os.PathLike) -> dict[str, Any]:
  """Reads the header, having checked the whole file. Raises as `read` does.

  That of a file that grows says, too, whether the file is `complete`.
  """
  return _split(path)[1]


def _split(path: str | os.PathLike) -> tuple[int, dict[str, Any], bytes]:
  """Returns the version, the header and the packed codes, as the checksum has them."""
  data = pathlib.Path(path).read_bytes()
  if not data.startswith(MAGIC):
    raise ValueError(f"{path}: is not a token file: it begins with {data[:4]!r}")
  if len(data) < PREFIX.size + CRC.size:
    raise ValueError(f"{path}: is truncated: it has {len(data)} bytes")
  _, version, length = PREFIX.unpack_from(data)
  if version not in _READERS:
    raise ValueError(
      f"{path}: is a token file of version {version}, or was altered; this package"
      f" reads versions {PLAIN} to {GROWING_SMALL}"
    )
  if version in (GROWING, GROWING_SMALL):
    return version, _growing_header(path, data), data
  body, (checksum,) = data[: -CRC.size], CRC.unpack(data[-CRC.size :])
  if zlib.crc32(body) != checksum:
    raise ValueError(f"{path}: is truncated or was altered: its checksum is wrong")
  start = PREFIX.size + length
  return version, _header(path, body[PREFIX.size : start], version), body[start:]


def _growing_header(path: str | os.PathLike, data: bytes) -> dict[str, Any]:
  reader = Reader(only_check=True)
  try:
    reader.feed(data)
    if not reader.num_frames:
      raise ValueError("is truncated: it holds no whole record")
    return reader.complete_header
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def _header(path: str | os.PathLike, stored: bytes, version: int) -> dict[str, Any]:
  try:
    header = json.loads(deflated.inflate(stored) if version == SMALL else stored)
    wrong = problem(header)
    if version == SMALL:
      wrong = wrong or unknown_coding(header, [ADAPTIVE, SCORED])
      if header["coding"] == SCORED:
        wrong = wrong or bad_model(header)
  except (ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
    wrong = repr(error)
  if wrong:
    raise ValueError(f"{path}: its header makes no sense: {wrong}")
  return header


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
