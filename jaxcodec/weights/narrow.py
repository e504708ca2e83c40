"""Floats in 16 or 8 bits, as `weights` keeps them in files: smaller, and rounded."""

from collections.abc import Mapping

import numpy as np

BITS = (32, 16, 8)
BLOCK = 32  # neighbours in memory that share a scale, as in GGML's Q8_0
SCALES = "scales/"  # before an array's name: the scales of its blocks
_SMALLEST = 1024  # values of an array that is worth 8 bits
_LARGEST = 127


def narrow(tensors: Mapping[str, np.ndarray], bits: int) -> dict[str, np.ndarray]:
  """Returns arrays as they are written; what isn't float32 stays as it is.

  In 8 bits, each 32 neighbours are multiples of the 127th part of the greatest of them,
  rounded to float16: 8.5 bits a value. Vectors, such as gains and counts of codes, stay
  in float16: they are few, and neighbours in them have little in common.

  Args:
    tensors: arrays by their names in the file.
    bits: of each float: 32, 16 or 8.

  Raises:
    ValueError: `bits` is none of these, or an array has values that float16 cannot
      hold; names it.
  """
  if bits not in BITS:
    raise ValueError(f"bits must be one of {BITS}, got {bits}")
  narrowed = {}
  for key, tensor in tensors.items():
    if bits == 32 or tensor.dtype != np.float32:
      narrowed[key] = tensor
    elif bits == 16 or tensor.size < max(_SMALLEST, 2 * max(tensor.shape, default=0)):
      narrowed[key] = _half(key, tensor)
    else:
      narrowed[key], narrowed[SCALES + key] = _eight_bits(key, tensor)
  return narrowed


def widen(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns arrays as they are used: floats of 8 and 16 bits as float32."""
  return {
    key: _widened(tensor, tensors.get(SCALES + key))
    for key, tensor in tensors.items()
    if not key.startswith(SCALES)
  }


def _widened(tensor: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
  if scales is None:
    return tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor
  values = _in_blocks(tensor).astype(np.float32) * scales.astype(np.float32)[:, None]
  return values.reshape(-1)[: tensor.size].reshape(tensor.shape)


def _half(key: str, tensor: np.ndarray) -> np.ndarray:
  with np.errstate(over="ignore"):
    half = tensor.astype(np.float16)
  if not np.array_equal(np.isfinite(half), np.isfinite(tensor)):
    raise ValueError(f"{key} has values beyond float16, up to {np.abs(tensor).max():g}")
  return half


def _eight_bits(key: str, tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  blocks = _in_blocks(tensor)
  scales = _half(key, np.abs(blocks).max(-1) / _LARGEST)
  divisor = np.where(scales > 0, scales, np.float16(1)).astype(np.float32)
  rounded = np.clip(np.rint(blocks / divisor[:, None]), -_LARGEST, _LARGEST)
  integers = rounded.astype(np.int8).reshape(-1)[: tensor.size]
  return integers.reshape(tensor.shape), scales


def _in_blocks(tensor: np.ndarray) -> np.ndarray:
  """Returns all values in rows of a block, (blocks, 32), filled up with zeros."""
  flat = tensor.reshape(-1)
  return np.pad(flat, (0, -flat.size % BLOCK)).reshape(-1, BLOCK)
