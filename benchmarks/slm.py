"""How fast the speech language models generate, against no cache and against PyTorch.

    pip install -e ".[test]" torch
    python benchmarks/slm.py --items=1,8

Models of 12 layers of 512 with random weights speak 10 seconds (500 frames of 8 codes),
greedily. The other side is a plain PyTorch loop of the same VALL-E with the same
weights and a KV cache; the sides take turns, and a row gives medians. Compiling is
told apart. Without a cache every frame is a forward pass over exactly the frames so
far; that is measured for a few of them, spread evenly, and their mean stands for all.
A real-time factor is seconds of work for a second of speech, all items together.
"""

import argparse
import statistics
import sys
import tempfile

from other_process import Side

SPEC = dict(num_codebooks=8, codebook_size=1024, hop=320, sample_rate=16_000)
SIZES = dict(depth=12, width=512, heads=8)
SYMBOLS, TEXT = 100, 100  # kinds of phonemes, and how many are spoken
SECONDS, FRAMES = 10, 500  # of speech
# Where frames are measured without a cache, as parts of all.
NO_CACHE_AT = (0.125, 0.375, 0.625, 0.875)
HEAD = (
  "model",
  "items",
  "compile, s",
  "ours, s",
  "tokens/s",
  "real-time factor",
  "NAR's part, s",
  "PyTorch, s",
  "ours / PyTorch",
  "no cache, s",
  "no cache / ours",
)


def alternate(sides, what, items, rounds):
  """Seconds of compiling, and the medians of each side's seconds."""
  shape = f"{items}x{SECONDS}"
  first = sides["ours"].ask(what=what, shape=shape)["seconds"]
  for name in sides.keys() - {"ours"}:
    sides[name].ask(what=what, shape=f"{items}x1")  # warms up
  times = {name: [] for name in sides}
  for _ in range(rounds):
    for name, side in sides.items():
      times[name].append(side.ask(what=what, shape=shape)["seconds"])
  medians = {name: statistics.median(values) for name, values in times.items()}
  return first - medians["ours"], medians


def without_cache(ours, items):
  """Seconds of VALL-E without a cache, and how many of them are the NAR's."""
  for _ in range(2):  # the first one compiles
    some, nar = (
      ours.ask(what=what, shape=f"{items}x{SECONDS}")["seconds"]
      for what in ("no cache", "nar")
    )
  return some / len(NO_CACHE_AT) * FRAMES + nar, nar


def row(model, items, compiling, seconds, *others):
  codes, audio = items * FRAMES * SPEC["num_codebooks"], items * SECONDS
  cells = f"{compiling:.1f}", f"{seconds:.2f}", f"{codes / seconds:.0f}"
  cells += (f"{seconds / audio:.3f}", *others)
  print("| " + " | ".join((model, str(items), *cells)) + " |", flush=True)


def compare(sides, items, rounds):
  """The rows of a batch size."""
  compiling, medians = alternate(sides, "valle", items, rounds)
  ours, theirs = medians["ours"], medians["torch"]
  slow, nar = without_cache(sides["ours"], items)
  others = f"{nar:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}"
  row("AR + NAR", items, compiling, ours, *others, f"{slow:.0f}", f"{slow / ours:.1f}")
  compiling, medians = alternate({"ours": sides["ours"]}, "maskgit", items, rounds)
  row("masked parallel", items, compiling, medians["ours"], *"-----")


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  split = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
  parser.add_argument("--items", type=split, default=(1, 8))
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--threads", type=int, default=2)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    sides = {  # the first one writes the weights
      name: Side(f"slm_{name}", "-", folder, options.threads)
      for name in ("ours", "torch")
    }
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
    for items in options.items:
      compare(sides, items, options.rounds)
    for side in sides.values():
      agreement = side.ask(what="agreement")["text"]
    print(agreement, file=sys.stderr)
    for side in sides.values():
      side.close()


if __name__ == "__main__":
  main()
