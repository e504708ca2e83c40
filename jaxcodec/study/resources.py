"""The cores and GPUs that cells have which run at once."""

import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jaxcodec.study.grid import StudyError

_GPUS = "CUDA_VISIBLE_DEVICES"
_NVIDIA = pathlib.Path("/proc/driver/nvidia/gpus")


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

  Fewer cores than jobs aren't shared out. GPUs are those that CUDA_VISIBLE_DEVICES
  lists, or all of NVIDIA's; there are none if JAX_PLATFORMS names no GPU.

  Raises:
    StudyError: there are GPUs, but fewer than jobs. JAX takes most of a GPU's memory
      when it starts, so that a second program finds too little.
  """
  known = hasattr(os, "sched_getaffinity")  # Linux
  cores, gpus = sorted(os.sched_getaffinity(0)) if known else [], _gpus()
  if gpus and jobs > len(gpus):
    raise StudyError(
      f"jobs: each cell needs a GPU of its own, and there are {len(gpus)}, got {jobs}"
    )
  for job in range(jobs):
    yield Share(
      tuple(cores[job::jobs]) if 1 < jobs <= len(cores) else (),
      tuple(gpus[job::jobs]) if jobs > 1 else (),
    )


def _gpus() -> list[str]:
  platforms = os.environ.get("JAX_PLATFORMS", "")
  if platforms and not any(name in platforms for name in ("cuda", "gpu")):
    return []
  listed = os.environ.get(_GPUS)
  if listed is not None:
    names = [name.strip() for name in listed.split(",")]
    # CUDA stops at the first that isn't there: -1 hides all.
    return [*itertools.takewhile(lambda name: name and name != "-1", names)]
  count = len(list(_NVIDIA.iterdir())) if _NVIDIA.is_dir() else 0
  return [str(index) for index in range(count)]
