"""How fast published figures of accelerators let a step be, and what holds it up."""

from typing import NamedTuple

from jaxcodec.dry_run.step_cost import StepCost


class Chip(NamedTuple):
  """Published peaks of one device.

  Attributes:
    flops: dense FLOP/s of bfloat16 products.
    single: the same of float32 ones in the precision that is JAX's default there.
    exact: the same of float32 ones in all of their bits.
    memory: bytes/s of the device's own memory.
    network: bytes/s that it sends to its neighbours.
  """

  flops: float
  single: float
  exact: float
  memory: float
  network: float


# NVIDIA's data sheets of the SXM boards: bfloat16 and TF32 without sparsity, float32
# outside of the tensor cores, and half of what NVLink carries in both directions.
# cloud.google.com/tpu/docs for v5e, v5p, v6e: all links. A TPU multiplies float32 once
# in bfloat16, or six times for all bits.
CHIPS = {
  "H100": Chip(989e12, 494e12, 67e12, 3.35e12, 450e9),
  "H200": Chip(989e12, 494e12, 67e12, 4.8e12, 450e9),
  "B200": Chip(2250e12, 1100e12, 75e12, 8.0e12, 900e9),
  "v5e": Chip(197e12, 197e12, 197e12 / 6, 0.82e12, 200e9),
  "v5p": Chip(459e12, 459e12, 459e12 / 6, 2.765e12, 600e9),
  "v6e": Chip(918e12, 918e12, 918e12 / 6, 1.64e12, 448e9),
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
  half = cost.flops - cost.single_flops - cost.exact_flops
  products = (half, chip.flops), (cost.single_flops, chip.single)
  products += ((cost.exact_flops, chip.exact),)
  seconds = {
    "compute": sum(operations / rate for operations, rate in products),
    "memory": cost.moved / chip.memory,
    "network": cost.sent / chip.network,
  }
  by = max(seconds, key=lambda name: seconds[name])
  share = cost.model_flops / chip.flops / seconds[by] if seconds[by] else 0.0
  return Bound(seconds[by], by, share)


def table(cost: StepCost) -> str:
  """Formats the bounds of all chips, a line each."""
  lines = ["at least, by published peaks (MFU of bfloat16's):"]
  for name, chip in CHIPS.items():
    seconds, by, mfu = bound(cost, chip)
    lines.append(f"  {name}: {1e3 * seconds:.4g} ms, bound by {by}, MFU {mfu:.0%}")
  return "\n".join(lines)
