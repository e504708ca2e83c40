"""Reads hundreds of damaged files: each must be an error that names it, or harmless.

    python tests/faults/corrupt.py [--count=600] [--out=FILE]

It writes a Markdown table of outcomes by kind of file and damage. It exits with 1 if a
variant is silently read as other content, gives an error that doesn't name it, hangs or
crashes. Another process reads the variants and is started again if it dies.
"""

import argparse
import collections
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading

import corrupt_variants

TIMEOUT = 60.0  # seconds, for one variant


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--count", type=int, default=600)
  parser.add_argument("--out", help="default: the terminal")
  parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  if arguments.child:
    return _child()
  results = list(_run(corrupt_variants.variants(arguments.count)))
  text = table(results)
  if arguments.out:
    pathlib.Path(arguments.out).write_text(text)
  else:
    print(text)
  return int(any(outcome in corrupt_variants.FAULTS for _, outcome, _ in results))


def _child():
  """Reads variants from stdin, one a line, and prints their outcomes."""
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # what libraries print must not mix with the answers
  with tempfile.TemporaryDirectory() as folder:
    lab = corrupt_variants.Lab(pathlib.Path(folder))
    for line in sys.stdin:
      answer = lab.outcome(corrupt_variants.Variant(*json.loads(line)))
      print(json.dumps(answer), file=answers, flush=True)
  return 0


def _run(variants):
  """Yields (variant, outcome, detail) of each."""
  child = _Child()
  for variant in variants:
    outcome, detail = child.ask(variant)
    if outcome in corrupt_variants.FAULTS:
      print(f"{variant}: {outcome}: {detail}", file=sys.stderr)
    if outcome == corrupt_variants.DIED:
      child.stop()
      child = _Child()
    yield variant, outcome, detail
  child.stop()


class _Child:
  def __init__(self):
    self._process = subprocess.Popen(
      [sys.executable, __file__, "--child"],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    self._answers = queue.Queue()
    threading.Thread(target=self._listen, daemon=True).start()

  def _listen(self):
    for line in self._process.stdout:
      self._answers.put(json.loads(line))
    self._answers.put((corrupt_variants.DIED, f"exit code {self._process.wait()}"))

  def ask(self, variant):
    fields = (variant.kind, variant.damage, variant.seed)
    print(json.dumps(fields), file=self._process.stdin, flush=True)
    try:
      return tuple(self._answers.get(timeout=TIMEOUT))
    except queue.Empty:
      return corrupt_variants.DIED, f"no answer in {TIMEOUT:.0f} s"

  def stop(self):
    self._process.kill()
    self._process.wait()


def table(results):
  """Formats counts of the outcomes by kind and damage."""
  counts = collections.defaultdict(collections.Counter)
  for variant, outcome, _ in results:
    counts[variant.kind, variant.damage][outcome] += 1
    counts["all", ""][outcome] += 1
  names = ("error", "fallback", "same", "undetectable", *corrupt_variants.FAULTS)
  lines = [f"| file | damage | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
  for (kind, damage), row in sorted(counts.items()):
    cells = " | ".join(str(row[name] or "") for name in names)
    lines.append(f"| {kind} | {damage} | {cells} |")
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  sys.exit(main())
