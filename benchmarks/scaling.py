"""Expected weak scaling, from training steps compiled for devices that aren't here.

    python benchmarks/scaling.py --out=runs/scaling

The full DAC and the language models of configs/dac_maskgit.py and dac_valle.py are
compiled for 1 to 256 devices, each with an eighth of the config's batch; the language
models compute their activations again. Read from the
programs are bytes that a device holds and sends in a step. What that means for speed is
an expectation from published figures (`MACHINES`) and `UTILISATION`, between two
extremes: that nothing is sent while computing (the lower efficiency) and all of it (the
higher). Each cell is a process of its own and a JSON file; what is there already is not
done again.
"""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
# The config, its stage, sizes of `fsdp`.
MODELS = {
  "codec": ("dac_maskgit", "codec", (1,)),
  "masked": ("dac_maskgit", "slm", (1, 8)),
  "ar_nar": ("dac_valle", "slm", (1, 8)),
}
# Part of the peak that a device reaches while it computes. Slower ones would hide more
# of what is sent.
UTILISATION = 0.4


class Machine(NamedTuple):
  """Published figures.

  Attributes:
    flops: dense FLOP/s in bfloat16, and in what float32 programs multiply in.
    rate: bytes/s that a device can send, by a collective as its cell has it and the
      number of devices.
  """

  flops: dict[str, float]
  rate: Callable[[dict[str, Any], int], float]


def _h100(collective, devices):
  """NVLink 4: 900 GB/s both ways. Between machines of 8, one 400 Gb/s adapter each:
  a ring through all of a machine's devices that share in it uses all their adapters."""
  inside = devices <= 8 or collective["among"] == collective["together"]
  return 450e9 if inside else min(450e9, 50e9 * collective["together"])


def _v5p(collective, devices):
  """ICI: 4800 Gb/s over the six links of a 3D torus; slices below 4x4x4 are meshes of
  half as many. Groups that aren't everyone are taken to lie along one axis."""
  links = 1.0 if devices >= 64 else 0.5
  return 600e9 * links * (1 if collective["among"] == devices else 1 / 3)


# NVIDIA H100 SXM data sheet (bfloat16 and TF32 without sparsity; NVLink) and DGX H100's
# (ConnectX-7); cloud.google.com/tpu/docs/v5p. A TPU multiplies float32 in bfloat16
# unless told otherwise, as JAX does not tell it.
MACHINES = {
  "H100": Machine({"bfloat16": 989e12, "float32": 494e12}, _h100),
  "v5p": Machine({"bfloat16": 459e12, "float32": 459e12}, _v5p),
}


def measure(model: str, devices: int, fsdp: int) -> dict[str, Any]:
  """Compiles one cell, in a process that has not used JAX yet."""
  from jaxcodec.build.check import check
  from jaxcodec.build.resolve import resolve
  from jaxcodec.dry_run import command
  from jaxcodec.parallel import sharding
  from jaxcodec.pipeline.experiment import plain
  from jaxcodec.recipes import config_file

  name, stage, _ = MODELS[model]
  config = config_file.load(str(ROOT / "configs" / f"{name}.py"))
  config.slm.remat = "full"
  train = config[f"{stage}_train"]
  size = "batch_size" if "batch_size" in train else "frames_per_batch"
  train[size] = train[size] // 8 * devices
  there = command.make_devices(str(devices))
  mesh = sharding.make_mesh({"data": -1, "fsdp": fsdp}, there)
  resolved = resolve(plain(config))
  cost = command.trace(resolved, check(resolved), stage, mesh).compile()
  return {
    "dtype": (config.slm if stage == "slm" else config.codec_train).dtype,
    **{name: getattr(cost, name) for name in ("flops", "state", "memory", "sent")},
    "collectives": [
      {
        "kind": c.kind,
        "size": c.size,
        "times": c.times,
        "counted": c.counted,
        "sent": c.sent,
        "among": len(c.groups[0]),
        "together": c.members_within(8),
      }
      for c in cost.collectives
    ],
  }


def cell(out: pathlib.Path, model: str, devices: int, fsdp: int) -> dict[str, Any]:
  """A cell's file, made where it isn't there."""
  path = out / f"{model}-{devices}-{fsdp}.json"
  if not path.exists():
    print(f"compiling {path.stem}", file=sys.stderr, flush=True)
    options = [f"--out={out}", f"--cell={model},{devices},{fsdp}"]
    subprocess.run([sys.executable, __file__, *options], check=True)
  return json.loads(path.read_text())


def row(model: str, devices: int, fsdp: int, cell: dict[str, Any]) -> str:
  """A line of the table."""
  shown = [
    model,
    devices,
    f"{devices // fsdp} x {fsdp}",
    f"{cell['flops'] / 1e12:.2f}",
    f"{cell['memory'] / 1e9:.2f}",
    f"{cell['sent'] / 1e9:.3f}",
  ]
  for machine in MACHINES.values():
    computing = cell["flops"] / (UTILISATION * machine.flops[cell["dtype"]])
    sending = sum(c["sent"] / machine.rate(c, devices) for c in cell["collectives"])
    low = computing / (computing + sending)
    high = computing / max(computing, sending)
    shown += [f"{1e3 * computing:.1f}", f"{1e3 * sending:.2f}"]
    shown.append(f"{low:.0%}" if low == high else f"{low:.1%} to {high:.0%}")
  return "| " + " | ".join(map(str, shown)) + " |"


def table(out: pathlib.Path, models, counts) -> str:
  head = ["step", "devices", "data x fsdp", "TFLOP", "GB held", "GB sent"]
  for name in MACHINES:
    head += [f"{name}: ms computing", "ms sending", "efficiency"]
  lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
  for model in models:
    for devices in counts:
      for fsdp in sorted({min(size, devices) for size in MODELS[model][2]}):
        lines.append(row(model, devices, fsdp, cell(out, model, devices, fsdp)))
  return "\n".join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/scaling"))
  parser.add_argument("--models", default=",".join(MODELS))
  parser.add_argument("--devices", default="1,8,64,256")
  parser.add_argument("--cell", help="model,devices,fsdp: only this, in this process")
  args = parser.parse_args()
  args.out.mkdir(parents=True, exist_ok=True)
  if args.cell:
    from jaxcodec import files

    model, devices, fsdp = args.cell.split(",")
    measured = measure(model, int(devices), int(fsdp))
    files.write_json(args.out / f"{model}-{devices}-{fsdp}.json", measured)
  else:
    counts = [int(count) for count in args.devices.split(",")]
    print(table(args.out, args.models.split(","), counts))


if __name__ == "__main__":
  main()
