"""Held-out metrics during training: a task's measures averaged over batches."""

import itertools
from collections.abc import Iterable
from typing import Any

import flax.struct
import jax
import numpy as np
from clu import metrics
from jax.sharding import Mesh

from jaxcodec.parallel import sharding
from jaxcodec.train.step import CompiledStep
from jaxcodec.types import Batch, Task


@flax.struct.dataclass
class WeightedMean(metrics.Metric):
  """The mean of a batch's values, each counted by the batch's weight.

  Unlike `clu.metrics.Average` it keeps vectors (one value a codebook) as they are, and
  takes what is a mean over a batch already. Its arrays are numpy's, on the host.
  """

  total: np.ndarray
  weight: np.ndarray

  @classmethod
  def empty(cls) -> "WeightedMean":
    return cls(total=np.float32(0), weight=np.float32(0))

  @classmethod
  def from_model_output(
    cls, values: np.ndarray, weight: np.ndarray, **_: Any
  ) -> "WeightedMean":
    return cls(total=weight * values, weight=weight)

  def merge(self, other: "WeightedMean") -> "WeightedMean":
    return type(self)(self.total + other.total, self.weight + other.weight)

  def compute(self) -> np.ndarray:
    return self.total / self.weight


def collect(result: dict[str, np.ndarray]) -> metrics.Collection:
  """Returns the metrics of one batch, to be merged with those of others.

  Args:
    result: what the task's `eval_step` returns, on the host, `weight` included.
  """
  weight = result["weight"]
  means = {
    name: WeightedMean.from_model_output(values, weight)
    for name, values in result.items()
    if name != "weight"
  }
  return metrics.Collection.create_collection(**means)


class UnknownMetric(ValueError):
  """A metric that was asked for isn't one of those that are measured."""


class HeldOutEvaluator:
  """Averages a task's `eval_step` over the first batches of a set."""

  def __init__(
    self, task: Task, data: Iterable[Batch], every: int, batches: int, mesh: Mesh
  ):
    self._data, self._every, self._batches, self._mesh = data, every, batches, mesh
    self._task = task
    whole = sharding.replicated(mesh)
    self._eval_step = CompiledStep(task.eval_step, mesh, out_shardings=whole)

  def check(self, name: str, state: Any) -> None:
    """Raises `UnknownMetric` if it isn't a number that is measured; runs nothing."""
    for batch in itertools.islice(self._data, 1):
      batch = sharding.put_batch(self._mesh, batch)
      found = jax.eval_shape(self._task.eval_step, state, batch)
      known = sorted(f"eval/{n}" for n, x in found.items() if not x.ndim)
      if name not in known:
        raise UnknownMetric(f"{name!r} isn't measured; these are: {', '.join(known)}")

  def due(self, step: int) -> bool:
    """Whether to evaluate after this step."""
    return step % self._every == 0

  def __call__(self, state: Any) -> dict[str, Any]:
    """Returns {"eval/<metric>": mean} for a train state.

    Raises:
      ValueError: there are no batches.
    """
    results = [
      self._eval_step(state, sharding.put_batch(self._mesh, batch))
      for batch in itertools.islice(self._data, self._batches)
    ]
    if not results:
      raise ValueError("the evaluation data are empty")
    # Read only now, so that the devices never wait for the host between batches.
    first, *others = map(collect, jax.device_get(results))
    merged = first
    for other in others:
      merged = merged.merge(other)
    return {f"eval/{name}": mean for name, mean in merged.compute().items()}
