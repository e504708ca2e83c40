"""Checks of the strides of convolutional encoders and decoders."""

from collections.abc import Sequence


def check_strides(strides: Sequence[int]) -> None:
  """Raises ValueError if there are none or one is not a positive integer."""
  if not strides or not all(isinstance(s, int) and s > 0 for s in strides):
    raise ValueError(f"strides must be positive integers, got {strides}")


def check_halved(width: int, strides: Sequence[int]) -> None:
  """Raises ValueError if the width cannot be halved at every stride."""
  smallest = 2 ** len(strides)
  if width % smallest:
    raise ValueError(
      f"width must be a multiple of {smallest} (halved at each of {len(strides)}"
      f" strides), got {width}"
    )
