"""What compilers make of the full sizes' programs, for accelerators that aren't here.

    pip install "jax[tpu]"
    python benchmarks/compiled.py --out=runs/compiled

Training steps, decoding, tokenising and the quantiser's kernel go through a TPU's own
compiler, which wants no TPU; for an NVIDIA GPU they are lowered to the StableHLO that
`jax.export` would write. A row has what its program holds and does, and the least time
by published peaks (`dry_run.roofline`). The exit code is 1 if a program has what none
should have:

- a product of float32 operands in the platform's default precision, but for tokenising;
  all products are of bfloat16, or ask for all bits as losses' spectra and codebooks'
  distances do;
- a condition;
- an array of all frames by all frames;
- more than the device's memory.

`--programs` also takes `train NAME` with any codec of `jaxcodec.presets`. Each cell is
a process of its own and a JSON file; what is there already is not done again.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
# The topology, whose first device is compiled for, the memory of one, and the chip of
# `roofline.CHIPS`. GPUs have no topology.
TARGETS = {
  "v5e": ("v5e:2x2", 16 * 2**30, "v5e"),
  "v5p": ("v5p:2x2x1", 95 * 2**30, "v5p"),
  "v6e": ("v6e:2x2", 32 * 2**30, "v6e"),
  "cuda": (None, 141 * 10**9, "H200"),
}
COLUMNS = ("program", "for", "GB held", "temporary", "TFLOP", "in all bits")
COLUMNS += ("GB accessed", "at least", "kernels", "compiled in")
_KERNEL = r"tpu_custom_call|__cudnn\$fmha\w+|__gpu\$xla\.gpu\.triton"
_CONDITION = r"\bstablehlo\.(?:case|if)\b|\bconditional\("
_SHAPE = r"tensor<((?:\d+x)+)\w+>|\b(?:pred|[a-z]+\d+)\[([\d,]+)\]"


def measure(name, target, tiny):
  """Compiles a cell; for a TPU, in a process that has not used JAX yet."""
  import accelerator_sizes
  import jax
  from compiled_programs import maker

  from jaxcodec.nn import platform
  from jaxcodec.train import flops

  sizes = accelerator_sizes.TINY if tiny else accelerator_sizes.FULL
  topology, memory, _ = TARGETS[target]
  if not topology:
    _assume_cudnn()
  with platform.assume("tpu" if topology else target):
    program = maker(name)(sizes, memory)
    args = _placed(program.args, topology) if topology else program.args
    traced = jax.jit(program.function, donate_argnums=program.replaced).trace(*args)
    lowered = traced.lower(lowering_platforms=None if topology else (target,))
  work = flops.count(traced.jaxpr)
  single = [] if program.float32 else single_products(traced.jaxpr)
  found = {"single": single, "work": work._asdict()}
  if not topology:
    found["least"] = _least(_expected(work, program), target)
    return found | read(lowered.as_text(), program.frames)
  costs, text = _compile(lowered, work, args, target)
  return found | costs | read(text, program.frames)


def _assume_cudnn():
  """Lowers for a GPU whose cuDNN can't be asked for its version."""
  from jax._src.cudnn import fused_attention_stablehlo

  fused_attention_stablehlo.check_cudnn_version = lambda: 91_000


def _compile(lowered, work, args, target):
  """Returns what a TPU's program costs, and its text."""
  from jaxcodec.dry_run.step_cost import TracedStep

  step = TracedStep(args[0], lowered, work, devices=1, platform="tpu")
  start = time.monotonic()
  compiled = step.build()
  seconds = time.monotonic() - start
  cost = step.cost(compiled)
  accessed = compiled.cost_analysis().get("bytes accessed", 0.0)
  found = dict(held=cost.memory, temporary=cost.temporary, limit=TARGETS[target][1])
  found |= dict(compile_s=seconds, accessed=accessed, least=_least(cost, target))
  return found, compiled.as_text()


def _least(cost, target):
  from jaxcodec.dry_run import roofline

  return roofline.bound(cost, roofline.CHIPS[TARGETS[target][2]])._asdict()


def _expected(work, program):
  """Returns what a program costs that isn't compiled, but for what it holds at once."""
  import jax

  from jaxcodec.dry_run.step_cost import StepCost

  size = lambda tree: sum(  # noqa: E731
    x.size * x.dtype.itemsize
    for x in jax.tree.leaves(tree)
    if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  )
  given, results = (
    size(program.args),
    sum(size(program.args[i]) for i in program.replaced),
  )
  return StepCost(
    state=size(program.args[0]),
    arguments=given,
    results=results,
    reused=results,
    temporary=0,
    flops=work.total,
    model_flops=work.model,
    single_flops=work.single,
    exact_flops=work.exact,
    moved=work.moved + given + results,
    compiler_flops=0.0,
    collectives=[],
  )


def _placed(args, topology):
  import jax
  from jax.sharding import SingleDeviceSharding

  from jaxcodec.dry_run import command

  place = SingleDeviceSharding(command.make_devices(topology)[0])
  put = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)  # noqa: E731
  return jax.tree.map(put, args)


def single_products(jaxpr):
  """Returns where products of float32 in the default precision are written.

  Those without an axis that only one operand has are sums of elementwise products, as
  the gradient of JAX's attention for TPUs has one.
  """
  from jaxcodec.train import flops

  found = [e for e in flops.products(jaxpr) if flops.precision(e) == "single"]
  return sorted({_place_of(equation) for equation in found if _has_free_axis(equation)})


def _has_free_axis(equation):
  if equation.primitive.name != "dot_general":
    return True
  axes = equation.params["dimension_numbers"]
  bound = [len(axes[0][side]) + len(axes[1][side]) for side in (0, 1)]
  return any(x.aval.ndim > n for x, n in zip(equation.invars[:2], bound, strict=True))


def _place_of(equation):
  """Returns the innermost line of this package that an equation is from."""
  frames = equation.source_info.traceback.frames
  ours = (f for f in frames if "/jaxcodec/" in f.file_name)
  frame = next(ours, frames[0])
  return f"{pathlib.Path(frame.file_name).name}:{frame.line_num}"


def read(text, frames):
  """Reads kernels, conditions and arrays of all frames by all from a program's text."""
  return {
    "kernels": len(re.findall(_KERNEL, text)),
    "conditions": len(re.findall(_CONDITION, text)),
    "squares": sorted(set(_squares(text, frames))) if frames else [],
  }


def _squares(text, frames):
  """Yields the shapes with two axes of one length, that of sequences."""
  for mlir, hlo in re.findall(_SHAPE, text):
    shape = [int(size) for size in re.findall(r"\d+", mlir or hlo)]
    if any(shape.count(size) > 1 for size in frames):
      yield "x".join(map(str, shape))


def wrong(cell):
  """Returns what a program should not have, a line each."""
  found = [f"float32 products at {place}" for place in cell["single"]]
  found += [f"arrays of {shape}" for shape in cell["squares"]]
  if cell["conditions"]:
    found.append(f"{cell['conditions']} conditions")
  if cell.get("held", 0) > cell.get("limit", 0):
    found.append(f"{cell['held'] / 1e9:.1f} GB of {cell['limit'] / 1e9:.1f}")
  return found


def make_cell(out, name, target, tiny):
  """Returns a cell, made where its file isn't there; None if that fails."""
  path = out / f"{name.replace(' ', '-')}-{target}.json"
  if not path.exists():
    print(f"compiling {path.stem}", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, f"--out={out}", "--here"]
    command += [f"--programs={name}", f"--targets={target}"]
    # Without these, JAX asks where the TPU is on which it runs.
    env = {**os.environ, "TPU_SKIP_MDS_QUERY": "1", "JAX_PLATFORMS": "cpu"}
    if subprocess.run(command + ["--tiny"] * tiny, env=env).returncode:
      return None
  return json.loads(path.read_text())


def measure_here(out, name, target, tiny):
  """Writes a cell's file."""
  from jaxcodec import files

  path = out / f"{name.replace(' ', '-')}-{target}.json"
  files.write_json(path, measure(name, target, tiny))


def row(name, target, cell):
  """A line of the table."""
  work, least = cell["work"], cell["least"]
  total = work["model"] + work["recomputed"]
  cells = {"program": name, "for": target, "TFLOP": f"{total / 1e12:.3g}"}
  cells["in all bits"] = f"{work['exact'] / total:.2%}"
  cells["kernels"] = cell["kernels"]
  cells["at least"] = f"{1e3 * least['seconds']:.3g} ms, {least['by']}"
  if "held" in cell:
    cells["GB held"] = f"{cell['held'] / 1e9:.2f}"
    cells["temporary"] = f"{cell['temporary'] / 1e9:.2f}"
    cells["GB accessed"] = f"{cell['accessed'] / 1e9:.1f}"
    cells["compiled in"] = f"{cell['compile_s']:.0f} s"
  return "| " + " | ".join(str(cells.get(name, "")) for name in COLUMNS) + " |"


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/compiled"))
  parser.add_argument("--programs", help="names with commas between; default all")
  parser.add_argument("--targets", default=",".join(TARGETS))
  parser.add_argument("--tiny", action="store_true", help="small sizes")
  parser.add_argument("--here", action="store_true", help="one cell, in this process")
  options = parser.parse_args()
  from compiled_programs import PROGRAMS

  given = options.programs.split(",") if options.programs else list(PROGRAMS)
  names = [" ".join(name.split()) for name in given]
  options.out.mkdir(parents=True, exist_ok=True)
  if options.here:
    measure_here(options.out, names[0], options.targets, options.tiny)
    return
  print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
  problems = []
  for name in names:
    for target in options.targets.split(","):
      cell = make_cell(options.out, name, target, options.tiny)
      if cell:
        print(row(name, target, cell), flush=True)
      found = wrong(cell) if cell else ["does not compile"]
      problems += [f"{name}, {target}: {line}" for line in found]
  print("\n".join(problems), file=sys.stderr)
  sys.exit(bool(problems))


if __name__ == "__main__":
  main()
