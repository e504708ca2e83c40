"""Records steps that were not finite, with their examples, and stops at too many."""

import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from absl import logging

from jaxcodec import files
from jaxcodec.train.flops import Work
from jaxcodec.types import Metrics

FILE = "nonfinite.json"


class NonFiniteError(FloatingPointError):
  """A metric or the state became NaN or infinite, and training stops."""


class StepResult(NamedTuple):
  """The result of a step that the devices may still be computing.

  Attributes:
    step: its number, from 1.
    metrics: on the devices.
    finite: whether all metrics are finite.
    index_B: ids of the examples, None if the data has none.
    examples: rows of the batch.
    flops: of the step, on all devices.
  """

  step: int
  metrics: Metrics
  finite: jax.Array
  index_B: np.ndarray | None
  examples: int
  flops: Work


class NonFiniteRecord:
  """The record of a run's steps that were not finite, `nonfinite.json`."""

  def __init__(self, folder: pathlib.Path, limit: int, step: int):
    """Reads the record of a run that goes on.

    Args:
      folder: of the run.
      limit: how many such steps a run may skip; 0 stops it at the first.
      step: updates done. Records of later steps, about to be repeated, are dropped.
    """
    self._path, self._limit = folder / FILE, limit
    records = json.loads(self._path.read_text()) if self._path.exists() else []
    self._records = [record for record in records if record["step"] <= step]

  def metrics(self) -> dict[str, float]:
    """Returns `skipped_steps`, {} in a run that may skip none."""
    return {"skipped_steps": len(self._records)} if self._limit else {}

  def add(self, result: StepResult) -> None:
    """Records a step.

    Raises:
      NonFiniteError: more steps than may be skipped; it names step and metrics.
    """
    metrics = jax.device_get(result.metrics)
    bad = [name for name, value in metrics.items() if not np.isfinite(value).all()]
    index = None if result.index_B is None else result.index_B.tolist()
    # As text, since JSON has neither NaN nor infinity.
    values = {name: str(np.asarray(value)) for name, value in metrics.items()}
    self._records.append({"step": result.step, "index_B": index, "metrics": values})
    files.write_json(self._path, self._records)
    what = f"step {result.step}: {', '.join(bad)} not finite"
    where = f"the metrics and the batch's index_B are in {self._path}"
    if (count := len(self._records)) <= self._limit:
      skipped = f"skipped, {count} of at most {self._limit}"
      logging.warning("%s: %s; %s", what, skipped, where)
      return
    many = f", in {count} steps of at most {self._limit}" if self._limit else ""
    raise NonFiniteError(
      f"{what}{many}; {where}. Lower the learning rate or look at those examples; the"
      " last checkpoint is from before"
    )
