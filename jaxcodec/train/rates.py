"""How fast training is and what of the devices it uses, over a window of steps."""

import time

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcodec.train import flops
from jaxcodec.train.prefetch import Prefetch


class Rates:
  """Takes the moments at which steps end.

  Args:
    batches: what says how long it was waited for.
    mesh: the devices.
  """

  def __init__(self, batches: Prefetch, mesh: Mesh):
    self.running = False
    self._batches = batches
    self._devices = [
      d for d in mesh.devices.flat if d.process_index == jax.process_index()
    ]
    self._count, self._peak = mesh.size, flops.peak(mesh.devices.flat[0])
    self._seconds: list[float] = []
    self._flops = self._mark = self._waited = 0.0
    self._examples = 0

  def restart(self) -> None:
    """Begins a window now."""
    self.running, self._seconds = True, []
    self._flops, self._examples = 0.0, 0
    self._mark, self._waited = time.monotonic(), self._batches.waited

  def tick(self, step_flops: float, examples: int) -> None:
    """A step of so many FLOPs, on all devices, has ended now."""
    now = time.monotonic()
    self._seconds.append(now - self._mark)
    self._mark, self._flops = now, self._flops + step_flops
    self._examples += examples

  def skip(self, seconds: float) -> None:
    """Leaves out seconds in which something else was done."""
    self._mark += seconds

  def take(self) -> dict[str, float]:
    """The rates of the window, after which the next begins; none without a step.

    `mfu` is the share of the devices' published bfloat16 peak, whatever the type that
    is computed in, and left out where that isn't known; so is the memory's peak.
    """
    steps, seconds = len(self._seconds), sum(self._seconds)
    deviation, waited = np.std(self._seconds or 0), self._batches.waited - self._waited
    achieved = self._flops / seconds / self._count if steps else 0.0
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
      "flops_per_s_per_device": achieved,
    }
    if self._peak is not None:
      rates["mfu"] = achieved / self._peak
    return {**rates, **self._memory()}

  def _memory(self) -> dict[str, float]:
    stats = [device.memory_stats() or {} for device in self._devices]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return {"device_memory_peak_bytes": float(max(peaks))} if peaks else {}
