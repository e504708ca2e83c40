"""Codes in as many bits as they need."""

import numpy as np


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
