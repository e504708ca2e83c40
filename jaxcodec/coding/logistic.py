"""Probabilities as integers, and their logits from tables.

A probability is in 65536ths, a logit in 256ths, cut off at 2047. The tables follow from
the 33 numbers below, so that no machine's exponential has a say.
"""

LIMIT = 2047  # of a logit
_STEP = 128
# 65536 / (1 + exp(-x)), rounded, for x = -8, -7.5, ..., 8: those of x <= 0.
_RISING = (22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955)
_RISING += (17625, 24743, 32768)
_KNOTS = _RISING + tuple(65536 - p for p in _RISING[-2::-1])


def _probability(logit: int) -> int:
  """Interpolates between the knots, which are half a unit of the logit apart."""
  knot, rest = divmod(logit + 16 * _STEP, _STEP)
  below, above = _KNOTS[knot], _KNOTS[knot + 1]
  return below + ((above - below) * rest >> 7)


# Of logits -LIMIT to LIMIT: entry `logit + LIMIT`.
PROBABILITY = tuple(_probability(logit) for logit in range(-LIMIT, LIMIT + 1))


def _logits() -> tuple[int, ...]:
  """Inverts `PROBABILITY` at every sixteenth probability."""
  logits, logit = [], -LIMIT
  for probability in range(0, 1 << 16, 16):
    while logit < LIMIT and PROBABILITY[logit + LIMIT] < probability:
      logit += 1
    logits.append(logit)
  return tuple(logits)


# Of probabilities: entry `probability >> 4`, the least logit whose own is not less than
# `probability` with its lowest 4 bits cleared, and LIMIT where there is none.
LOGIT = _logits()
