"""Evaluation during training: a task's measures on held-out batches."""

import itertools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcodec.parallel import sharding
from jaxcodec.train.step import Compiled
from jaxcodec.types import Batch, Task


class Evaluation:
  """Weighted means of a task's `eval_step` over the first batches of a set."""

  def __init__(
    self, task: Task, data: Iterable[Batch], every: int, batches: int, mesh: Mesh
  ):
    self._data, self._every, self._batches, self._mesh = data, every, batches, mesh
    whole = sharding.replicated(mesh)
    self._eval_step = Compiled(task.eval_step, mesh, out_shardings=whole)

  def due(self, step: int) -> bool:
    """Whether to evaluate after this step."""
    return step % self._every == 0

  def __call__(self, state: Any) -> dict[str, Any]:
    """{"eval/<metric>": mean} of a state.

    Raises:
      ValueError: there are no batches.
    """
    results = [
      self._eval_step(state, sharding.put_batch(self._mesh, batch))
      for batch in itertools.islice(self._data, self._batches)
    ]
    if not results:
      raise ValueError("the evaluation data are empty")
    results = jax.device_get(results)
    weights = [result.pop("weight") for result in results]
    total = np.sum(weights)
    return {
      f"eval/{name}": sum(w * r[name] for w, r in zip(weights, results, strict=True))
      / total
      for name in results[0]
    }
