"""Where a recording is quiet: there it begins, and can be cut."""

import numpy as np

_SILENCE_DB = -40.0  # below the loudest frame
_NEAR = 5  # frames that a cut should be quiet for


def power(audio_N: np.ndarray, hop: int) -> np.ndarray:
  """Returns the mean square of each frame, (T,)."""
  padded_N = np.pad(audio_N, (0, -len(audio_N) % hop))
  return np.square(padded_N.reshape(-1, hop)).mean(1)


def speech(power_T: np.ndarray, frames: int) -> slice:
  """Returns at most `frames` frames, from the first loud one on if enough follow."""
  first = int(np.argmax(power_T > power_T.max() * 10 ** (_SILENCE_DB / 10)))
  start = max(0, min(first, len(power_T) - frames))
  return slice(start, start + frames)


def cuts(power_T: np.ndarray, longest: int) -> list[int]:
  """Returns where to cut so that no piece has more than `longest` frames.

  Each cut is in the middle of the quietest frames of what may be its piece's second
  half.
  """
  near_T = np.convolve(power_T, np.ones(_NEAR), mode="same")
  found, start = [], 0
  while len(power_T) - start > longest:
    first = start + max(1, longest // 2)
    start = first + int(np.argmin(near_T[first : start + longest + 1]))
    found.append(start)
  return found
