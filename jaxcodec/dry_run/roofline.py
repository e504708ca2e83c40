"""How fast published figures of accelerators let a step be, and what holds it up."""

from typing import NamedTuple

from jaxcodec.dry_run.step_cost import StepCost


class Chip(NamedTuple):
  """Published peaks of one device.

  Attributes:
    flops: dense FLOP/s of bfloat16 products.
    memory: bytes/s of the device's own memory.
    network: bytes/s that it sends to its neighbours.
  """

  flops: float
  memory: float
  network: float


# NVIDIA's data sheets of the SXM boards: bfloat16 without sparsity, and half of what
# NVLink carries in both directions. cloud.google.com/tpu/docs for v5p, v6e: all links.
CHIPS = {
  "H100": Chip(989e12, 3.35e12, 450e9),
  "H200": Chip(989e12, 4.8e12, 450e9),
  "B200": Chip(2250e12, 8.0e12, 900e9),
  "v5p": Chip(459e12, 2.765e12, 600e9),
  "v6e": Chip(918e12, 1.64e12, 448e9),
}


class Bound(NamedTuple):
  """The least time that a step can take on a chip.

  Attributes:
    seconds: that the slowest of the three takes alone.
    by: its name: compute, memory or network.
    mfu: share of the peak that the model's own FLOPs would then have.
  """

  seconds: float
  by: str
  mfu: float


def bound(cost: StepCost, chip: Chip) -> Bound:
  """Returns how long a step takes at least, if all that can overlap does.

  The memory's part is what matrix products and convolutions read and write, and the
  arguments and results once. Elementwise work in between is taken to be fused.
  """
  seconds = {
    "compute": cost.flops / chip.flops,
    "memory": cost.moved / chip.memory,
    "network": cost.sent / chip.network,
  }
  by = max(seconds, key=lambda name: seconds[name])
  share = cost.model_flops / chip.flops / seconds[by] if seconds[by] else 0.0
  return Bound(seconds[by], by, share)


def table(cost: StepCost) -> str:
  """Formats the bounds of all chips, a line each."""
  lines = ["at least, by published peaks (bfloat16):"]
  for name, chip in CHIPS.items():
    seconds, by, mfu = bound(cost, chip)
    lines.append(f"  {name}: {1e3 * seconds:.4g} ms, bound by {by}, MFU {mfu:.0%}")
  return "\n".join(lines)
