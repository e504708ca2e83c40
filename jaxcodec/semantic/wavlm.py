"""WavLM: HuBERT with relative position bias in its attention.

Source: Chen et al. 2022 (arXiv 2110.13900) and transformers' WavLMModel, in the layouts
of `microsoft/wavlm-base-plus` and `microsoft/wavlm-large`.
"""

import math

import flax.linen as nn
import numpy as np

from jaxcodec.semantic.hubert import Hubert


class WavLm(Hubert):
  """See `Hubert`.

  Attributes:
    num_buckets: number of buckets of distances, half of them backwards; more than 3.
    max_distance: in frames; all longer distances share a bucket.
  """

  num_buckets: int = 320
  max_distance: int = 800

  def _bias(self, frames):
    """Returns the bias (H, T, T) that all layers share, each through its own gates."""
    shape = (self.num_buckets, self.heads)
    bias_VxH = self.param("rel_attn_embed", nn.initializers.normal(), shape)
    at_TxS = distance_buckets(frames, self.num_buckets, self.max_distance)
    return bias_VxH[at_TxS].transpose(2, 0, 1)


def distance_buckets(frames: int, num_buckets: int, max_distance: int) -> np.ndarray:
  """Returns the bucket of the distance from each frame (row) to each other, (T, T).

  In each direction, half of the buckets are for one distance each; the others widen up
  to `max_distance`. Source: Raffel et al. 2020 (T5), as WavLM has it.
  """
  half = num_buckets // 2
  exact = half // 2
  distance = np.arange(frames)[None] - np.arange(frames)[:, None]
  far = np.maximum(np.abs(distance), exact).astype(np.float32)
  wide = np.log(far / np.float32(exact)) / np.float32(math.log(max_distance / exact))
  wide = np.minimum(exact + (wide * (half - exact)).astype(int), half - 1)
  near = np.abs(distance) < exact
  return np.where(near, np.abs(distance), wide) + half * (distance > 0)
