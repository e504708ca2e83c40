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
    self._flops = self._mark = self._waited = 0.0
    self._examples = 0

  def restart(self) -> None:
    """Begins a window now."""
    self.running, self._seconds = True, []
    self._flops, self._examples = 0.0, 0
    self._mark, self._waited = time.monotonic(), self._batches.wait_seconds

  def tick(self, step_flops: float, examples: int) -> None:
    """Records the end of a step.

    Args:
      step_flops: FLOPs of the step, on all devices.
      examples: rows of its batch.
    """
    now = time.monotonic()
    self._seconds.append(now - self._mark)
    self._mark, self._flops = now, self._flops + step_flops
    self._examples += examples

  def skip(self, seconds: float) -> None:
    """Leaves out seconds in which something else was done."""
    self._mark += seconds

  def take(self) -> dict[str, float]:
    """Returns the rates of the window, {} without a step, and begins the next window.

    `mfu` is the achieved fraction of the devices' published bfloat16 peak, whatever
    type the model computes in. It is left out for devices whose peak isn't known, and
    the memory's peak where the backend doesn't report it.
    """
    steps, seconds = len(self._seconds), sum(self._seconds)
    deviation = np.std(self._seconds or 0)
    waited = self._batches.wait_seconds - self._waited
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
