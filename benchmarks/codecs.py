"""Our codecs against the original PyTorch ones, on this machine: time, memory, codes.

    pip install -e ".[test]"       # and the originals: see .ci/run
    python benchmarks/codecs.py --presets=dac_16khz,encodec_24khz

For each preset the original is made with random weights, which are ported. Every side
is a process of its own with the same threads; they take turns, so that whatever else
the machine does hits all of them, and a row gives the medians over the turns. Compiling
and warming up are not counted.
"""

import argparse
import statistics
import sys
import tempfile

from other_process import Side

PRESETS = (
  "encodec_24khz",
  "encodec_48khz",
  "dac_16khz",
  "dac_24khz",
  "dac_44khz",
  "vocos_mel_24khz",
  "vocos_encodec_24khz",
)
SHAPES = ("1x1", "1x10", "8x2")  # items x seconds
HEAD = (
  "preset",
  "what",
  "items x s",
  "ours, ms",
  "eager, ms",
  "ours / eager",
  "compiled / eager",
  "peak MB: ours",
  "eager",
)


def measure(sides, what, shape, rounds):
  """Returns one row, medians of `rounds` turns; a first turn isn't counted."""
  request = dict(what=what, shape=shape)
  alive = {n: s for n, s in sides.items() if "seconds" in s.ask(**request)}
  times = {name: [] for name in alive}
  for _ in range(rounds):
    for name, side in alive.items():
      times[name].append(side.ask(**request)["seconds"])
  ratio = {
    name: statistics.median(
      a / b for a, b in zip(times[name], times["eager"], strict=True)
    )
    for name in alive
  }
  ms = {name: 1e3 * statistics.median(values) for name, values in times.items()}
  peak = {name: alive[name].ask(**request)["peak_mb"] for name in ("ours", "eager")}
  compiled = f"{ratio['compiled']:.2f}" if "compiled" in ratio else "-"
  return (
    f"{ms['ours']:.1f}",
    f"{ms['eager']:.1f}",
    f"{ratio['ours']:.2f}",
    compiled,
    f"{peak['ours']:.0f}",
    f"{peak['eager']:.0f}",
  )


def compare(preset, options):
  """Prints the rows of one preset, and how well the two sides agree."""
  with tempfile.TemporaryDirectory() as folder:
    eager = Side("eager", preset, folder, options.threads)  # writes the weights
    sides = {"eager": eager, "ours": Side("ours", preset, folder, options.threads)}
    if options.compiled:
      sides["compiled"] = Side("compiled", preset, folder, options.threads)
    for shape in options.shapes:
      for what in eager.ready["whats"]:
        row = measure(sides, what, shape, options.rounds)
        print("| " + " | ".join((preset, what, shape, *row)) + " |", flush=True)
    agreement = sides["ours"].ask(what="agreement")["text"]
    print(f"{preset}: {agreement}", file=sys.stderr, flush=True)
    for side in sides.values():
      side.close()


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  split = lambda text: text.split(",")  # noqa: E731
  parser.add_argument("--presets", type=split, default=PRESETS)
  parser.add_argument("--shapes", type=split, default=SHAPES, help="items x seconds")
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument(
    "--compiled", action="store_true", help="torch.compile too, which takes minutes"
  )
  options = parser.parse_args()
  print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
  for preset in options.presets:
    compare(preset, options)


if __name__ == "__main__":
  main()
