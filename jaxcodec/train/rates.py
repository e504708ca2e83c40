"""Speed of training over a window of steps, and how much of the devices it uses."""

import time

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcodec.train import flops
from jaxcodec.train.prefetch import Prefetch


class Rates:
  """Records when steps end and derives rates from that.

  Attributes:
    running: whether a window has begun.
  """

  def __init__(self, batches: Prefetch, mesh: Mesh):
    """Begins no window yet.

    Args:
      batches: counts the seconds that training waited for it.
      mesh: the devices.
    """
    self.running = False
    self._batches = batches
    self._devices = [
      d for d in mesh.devices.flat if d.process_index == jax.process_index()
    ]
    self._count, self._peak = mesh.size, flops.peak(mesh.devices.flat[0])
    self._seconds: list[float] = []
    self._mark = self._waited = 0.0
    self._work = flops.Work()
    self._examples = 0

  def restart(self) -> None:
    """Begins a window now."""
    self.running, self._seconds = True, []
    self._work, self._examples = flops.Work(), 0
    self._mark, self._waited = time.monotonic(), self._batches.wait_seconds

  def tick(self, work: flops.Work, examples: int) -> None:
    """Records the end of a step.

    Args:
      work: of the step, on all devices.
      examples: rows of its batch.
    """
    now = time.monotonic()
    self._seconds.append(now - self._mark)
    self._mark, self._work = now, self._work.plus(work)
    self._examples += examples

  def skip(self, seconds: float) -> None:
    """Leaves out seconds in which something else was done."""
    self._mark += seconds

  def take(self) -> dict[str, float]:
    """Returns the rates of the window, {} without a step, and begins the next window.

    `mfu` is the fraction of the devices' published bfloat16 peak that the model's own
    FLOPs achieve, whatever type it computes in; `hfu` and `flops_per_s_per_device` also
    count what is computed again to save memory. Both fractions are left out for devices
    whose peak isn't known, and the memory's peak where the backend doesn't report it.
    """
    steps, seconds = len(self._seconds), sum(self._seconds)
    deviation = np.std(self._seconds or 0)
    waited = self._batches.wait_seconds - self._waited
    rate = self._work.times(1 / seconds / self._count) if steps else self._work
    speed = self._examples / seconds if steps else 0.0
    self.restart()
    if not steps:
      return {}
    rates = {
      "step_seconds": seconds / steps,
      "step_seconds_std": float(deviation),
      "examples_per_s": speed,
      "examples_per_s_per_device": speed / self._count,
      "input_wait_fraction": min(1.0, waited / seconds),
      "flops_per_s_per_device": rate.total,
    }
    if self._peak is not None:
      rates["mfu"] = rate.model / self._peak
      rates["hfu"] = rate.total / self._peak
    return {**rates, **self._memory()}

  def _memory(self) -> dict[str, float]:
    stats = [device.memory_stats() or {} for device in self._devices]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return {"device_memory_peak_bytes": float(max(peaks))} if peaks else {}
