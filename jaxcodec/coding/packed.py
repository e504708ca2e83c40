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


class Packed:
  """Packs a clip in blocks, each of whole bytes; see `adaptive.Blocks`."""

  def __init__(self, num_codebooks: int, num_bits: int):
    self._K, self._num_bits = num_codebooks, num_bits

  def size(self, T: int) -> int:
    """Returns the bytes of a block."""
    return -(-T * self._K * self._num_bits // 8)

  def encode(self, codes_TxK: np.ndarray) -> bytes:
    """Packs a block."""
    return pack(codes_TxK.ravel(), self._num_bits)

  def decode(self, data: bytes, T: int) -> np.ndarray:
    """Returns a block's codes (T, K), int32."""
    flat = unpack(data, self._num_bits, T * self._K)
    return flat.astype(np.int32).reshape(T, self._K)
