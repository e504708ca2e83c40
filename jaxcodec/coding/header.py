"""The beginning of a token file, and what its header must be."""

import struct
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

MAGIC = b"JXC\n"
PLAIN, SMALL, GROWING, GROWING_SMALL = 1, 2, 3, 4  # versions
# Codings of version 2, in its header; the first is that of version 4, too.
ADAPTIVE, SCORED = "adaptive", "scored"
PREFIX, CRC = struct.Struct("<4sHI"), struct.Struct("<I")
_SPEC = ("num_codebooks", "codebook_size", "hop", "sample_rate")


def code_bits(header: Mapping[str, Any]) -> int:
  """Returns the bits of a code."""
  return max(1, (header["spec"]["codebook_size"] - 1).bit_length())


def bad_model(header: Mapping[str, Any]) -> str | None:
  """Says what is wrong with what a header tells of its language model, if anything."""
  about = header["language_model"]
  strings = all(isinstance(value, str) for value in about.values())
  if strings and {"fingerprint", "scheme"} <= set(about):
    return None
  return (
    "language_model must be strings, with a fingerprint and a scheme, got"
    f" {dict(about)!r}"
  )


def unknown_coding(header: Mapping[str, Any], known: Collection[str]) -> str | None:
  """Says that a header's coding is none of these; None if it is."""
  if (coding := header["coding"]) in known:
    return None
  return f"codes are {' or '.join(known)} in this version, got {coding!r}"


def problem(header: Mapping[str, Any]) -> str | None:
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


def _positive(value: Any) -> bool:
  return type(value) is int and 0 < value < 1 << 48
