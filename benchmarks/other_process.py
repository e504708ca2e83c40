"""The process of one side of a benchmark, as the one that compares them sees it."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


class Side:
  """A process that runs one implementation of a preset."""

  def __init__(self, name, preset, folder, threads):
    command = [
      sys.executable,
      "-Wignore",
      str(HERE / "side.py"),
      name,
      preset,
      str(folder),
    ]
    affinity = {str(core) for core in sorted(os.sched_getaffinity(0))[:threads]}
    self._process = subprocess.Popen(
      ["taskset", "-c", ",".join(affinity), *command],
      env={**os.environ, "OMP_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu"},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.ready = self._answer()

  def ask(self, **request):
    self._process.stdin.write(json.dumps(request) + "\n")
    self._process.stdin.flush()
    return self._answer()

  def _answer(self):
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError(f"a side ended: {self._process.args}")
    return json.loads(line)

  def close(self):
    self._process.stdin.close()
    self._process.wait()
