"""How near two codewords are, of which a stream takes one and the whole the other."""

import numpy as np

_BEFORE = 20.0  # seconds after which a causal encoder knows no more of what was before


def margins(codec, variables, audio_N, codes_TxK, whole_TxK):
  """Measures the frames in which two codings of the same audio differ.

  Args:
    codec: of EnCodec's quantiser and a causal encoder.
    variables: its own.
    audio_N: what was coded.
    codes_TxK, whole_TxK: the two.

  Returns:
    For each such frame its number, the first level that differs, and by which share of
    the squared distance to one codeword that to the other differs. Later levels of a
    frame differ as they code other residuals.
  """
  levels = variables["vq_stats"]["quantizer"]
  found, before = [], round(_BEFORE * codec.spec.frame_rate)
  for t in np.flatnonzero((codes_TxK != whole_TxK).any(1)):
    begin, hop = max(0, t - before), codec.spec.hop
    part_1xNx1 = audio_N[None, begin * hop : (t + 1) * hop, None]
    rest_D = np.asarray(codec.bind(variables).encoder(part_1xNx1))[0, t - begin]
    rest_D, level = rest_D.astype(np.float64), 0
    while codes_TxK[t, level] == whole_TxK[t, level]:
      rest_D -= _codeword(levels, level, codes_TxK[t, level])
      level += 1
    two = [
      ((rest_D - _codeword(levels, level, c[t, level])) ** 2).sum()
      for c in (codes_TxK, whole_TxK)
    ]
    found.append((int(t), level, float(abs(two[0] - two[1]) / min(two))))
  return found


def _codeword(levels, level, code):
  return np.asarray(levels[f"layers_{level}"]["embed"])[code]
