"""What an accelerator gives, in one run: for a GPU or TPU that one has for minutes.

    python benchmarks/accelerator.py --minutes=10 --out=DIR
    python benchmarks/accelerator.py --tiny --minutes=3 --out=DIR     # on a CPU

The parts are in the order of their worth, and `DIR/results.json` and `DIR/results.md`
are written after every row of every part, so a run that is cut off loses only what it
had not reached. A part that fails is recorded as such, and the next one runs. When the
minutes are over no further part begins; a part that measures ever larger batches also
stops then.

Of packages it needs no more than JAX, Flax, Optax, Orbax, NumPy, safetensors and
msgpack; the rest of what an experiment wants (audio files, data sets, configs) is not
imported. `--tiny` measures the same things with sizes that say nothing about speed.
"""

import argparse
import contextlib
import importlib
import math
import os
import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # where it isn't installed
# JAX leaves a quarter of a GPU's memory alone, which large batches would need.
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")

# Name, and the function of this folder that measures it, the most worth knowing first.
PARTS = (
  ("device", "accelerator_basics:device"),
  ("ceilings", "accelerator_basics:ceilings"),
  ("parity", "accelerator_basics:parity"),
  ("attention", "accelerator_attention:attention_kernel"),
  ("rvq", "accelerator_basics:rvq"),
  ("train maskgit", "accelerator_training:maskgit"),
  ("train dac", "accelerator_training:dac"),
  ("train valle", "accelerator_training:valle"),
  ("decode valle", "accelerator_decoding:valle"),
  ("decode maskgit", "accelerator_decoding:maskgit"),
  ("tokenise", "accelerator_decoding:tokenise"),
  ("train maskgit, larger", "accelerator_training:larger_maskgit"),
  ("train dac, larger", "accelerator_training:larger_dac"),
  ("decode valle, larger", "accelerator_decoding:larger_valle"),
  ("train valle, larger", "accelerator_training:larger_valle"),
  ("decode maskgit, larger", "accelerator_decoding:larger_maskgit"),
  ("train encodec", "accelerator_training:encodec"),
)


class Run:
  """One run: what it has measured, and how much time is left.

  Attributes:
    sizes: a `Sizes`.
    ceilings: the measured rates that shares refer to: `copy` in bytes/s and `matmul` in
      FLOP/s.
    kept: what one part leaves for another.
    contexts: an `ExitStack`; what a part enters there lasts for all parts after it.
  """

  def __init__(self, sizes, minutes, folder):
    self.sizes, self.ceilings, self.kept = sizes, {}, {}
    self.contexts = contextlib.ExitStack()
    self._folder, self._end = folder, time.monotonic() + 60 * minutes
    self._parts = []

  def left(self):
    """Seconds until the run is to end."""
    return self._end - time.monotonic()

  def row(self, what, **values):
    """Adds a row to the part that runs, writes everything, and prints the row."""
    # JSON has no NaN, which a broken program may give.
    numbers = {n: v for n, v in values.items() if isinstance(v, float)}
    odd = {n: str(v) for n, v in numbers.items() if not math.isfinite(v)}
    self._parts[-1]["rows"].append({"what": what, **values, **odd})
    print(f"  {what}: {_cells(values)}", flush=True)
    self._write()

  def measure(self, name, function):
    """Runs a part; what it raises is recorded and ends the part alone."""
    entry = {"part": name, "rows": [], "status": "no time"}
    self._parts.append(entry)
    if self.left() > 0:
      print(f"{name} ({self.left():.0f} s left)", flush=True)
      start = time.monotonic()
      try:
        entry["status"] = "running"
        self._write()
        module, _, attribute = function.partition(":")
        getattr(importlib.import_module(module), attribute)(self)
        entry["status"] = "done"
      except Exception as error:
        entry["status"] = f"failed: {error!r:.500}"
        entry["traceback"] = traceback.format_exc()[-4000:]
        print(f"  {entry['status']}", flush=True)
      entry["seconds"] = round(time.monotonic() - start, 2)
    self._write()

  def _write(self):
    from jaxcodec import files

    longest = max(self._rows(), key=lambda row: row.get("compile_s", 0), default={})
    longest = {name: longest.get(name) for name in ("what", "compile_s")}
    found = {"parts": self._parts, "longest_compile": longest, "sizes": self.sizes.name}
    files.write_json(self._folder / "results.json", found)
    files.write_text(self._folder / "results.md", _table(self._parts))

  def _rows(self):
    return [row for part in self._parts for row in part["rows"]]


def _table(parts):
  lines = ["| part | what | measured |", "|---|---|---|"]
  for part in parts:
    for row in part["rows"]:
      values = {name: value for name, value in row.items() if name != "what"}
      lines.append(f"| {part['part']} | {row['what']} | {_cells(values)} |")
    if part["status"] != "done":
      lines.append(f"| {part['part']} | | {part['status']} |".replace("\n", " "))
  return "\n".join(lines) + "\n"


def _cells(values):
  return ", ".join(f"{name} {_number(value)}" for name, value in values.items())


def _number(value):
  return f"{value:.4g}" if isinstance(value, float) else str(value)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--minutes", type=float, default=10.0)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--tiny", action="store_true", help="small shapes, for a CPU")
  parser.add_argument("--parts", help="names of PARTS, comma-separated; default all")
  options = parser.parse_args()
  import accelerator_sizes

  sizes = accelerator_sizes.TINY if options.tiny else accelerator_sizes.FULL
  run = Run(sizes, options.minutes, options.out)
  wanted = options.parts.split(",") if options.parts else [name for name, _ in PARTS]
  if unknown := set(wanted) - {name for name, _ in PARTS}:
    parser.error(f"--parts: unknown {sorted(unknown)}; known: {[n for n, _ in PARTS]}")
  for name, function in PARTS:
    if name in wanted:
      run.measure(name, function)


if __name__ == "__main__":
  main()
