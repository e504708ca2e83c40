"""The cores and GPUs that cells have which run at once."""

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_GPUS = "CUDA_VISIBLE_DEVICES"


class Share(NamedTuple):
  """What one cell may use.

  Attributes:
    cores: numbers of cores; empty for all.
    gpus: names in CUDA_VISIBLE_DEVICES; empty for all.
  """

  cores: tuple[int, ...] = ()
  gpus: tuple[str, ...] = ()

  def environment(self) -> Mapping[str, str]:
    """Returns the variables of a process that sees these GPUs."""
    return {**os.environ, **({_GPUS: ",".join(self.gpus)} if self.gpus else {})}

  def pin(self, process: int) -> None:
    """Keeps a process that has just begun on these cores."""
    if self.cores:
      os.sched_setaffinity(process, self.cores)


def shares(jobs: int) -> Iterator[Share]:
  """Yields a share for each of so many jobs; one job has everything.

  Where there are fewer cores or GPUs than jobs, they aren't shared out.
  """
  known = hasattr(os, "sched_getaffinity")  # Linux
  cores = sorted(os.sched_getaffinity(0)) if known else []
  gpus = [name for name in os.environ.get(_GPUS, "").split(",") if name.strip()]
  for job in range(jobs):
    yield Share(
      tuple(cores[job::jobs]) if 1 < jobs <= len(cores) else (),
      tuple(gpus[job::jobs]) if 1 < jobs <= len(gpus) else (),
    )
