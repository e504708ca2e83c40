"""A metric from outside: the peak of the audio."""

import numpy as np

from jaxcodec.evals.metric import Metric, Score
from jaxcodec.evals.registry import METRICS


class Peak(Metric):
  """Largest absolute sample."""

  name = "peak"
  measures = "the largest absolute sample"

  def score(self, clip):
    return Score(float(np.abs(clip.audio).max()))


METRICS.register("peak", Peak)
