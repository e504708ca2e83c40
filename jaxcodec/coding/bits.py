"""An arithmetic coder of bits whose probabilities are integers.

The coder keeps an interval [low, high] of 32 bits. Each bit divides it in proportion to
the probability, and bytes in which both ends agree are written. It carries nothing into
bytes that were written. All is integers, so every machine computes the same.
"""

from collections.abc import Callable

# Takes a bit, or None where it is to be read, and the probability of a one in 65536ths,
# 1 to 65535; returns the bit.
Coder = Callable[[int | None, int], int]

_ALL, _TOP = 0xFFFFFFFF, 1 << 24
_AHEAD = 3  # bytes that a reader is ahead of the end, which are zeros there


def writer(out: bytearray) -> tuple[Coder, Callable[[], None]]:
  """Returns a coder that appends to `out`, and what is called after the last bit."""
  low, high = 0, _ALL

  def code(bit, probability):
    nonlocal low, high
    middle = low + ((high - low) * probability >> 16)
    if bit:
      high = middle
    else:
      low = middle + 1
    while low ^ high < _TOP:
      out.append(high >> 24)
      low, high = low << 8 & _ALL, high << 8 & _ALL | 255
    return bit

  def finish():
    out.append((low >> 24) + 1)  # and zeros, which readers add, lie in the interval

  return code, finish


def reader(data: bytes) -> tuple[Coder, Callable[[], None]]:
  """Returns a coder of what a writer wrote, and what checks that it was all of it.

  Both raise ValueError where there are too few bytes, the latter where too many.
  """
  low, high, at = 0, _ALL, 4
  value = int.from_bytes(data[:4].ljust(4, b"\0"))
  end = len(data)

  def code(_, probability):
    nonlocal low, high, value, at
    middle = low + ((high - low) * probability >> 16)
    if value <= middle:
      bit, high = 1, middle
    else:
      bit, low = 0, middle + 1
    while low ^ high < _TOP:
      if at >= end + _AHEAD:
        raise ValueError("the codes end early")
      low, high = low << 8 & _ALL, high << 8 & _ALL | 255
      value = value << 8 & _ALL | (data[at] if at < end else 0)
      at += 1
    return bit

  def finish():
    if at != end + _AHEAD:
      raise ValueError(f"{end} bytes of codes, expected {at - _AHEAD}")

  return code, finish
