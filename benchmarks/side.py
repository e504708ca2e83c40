"""One implementation, timed on request: a process that `codecs.py` and `slm.py` start.

    python benchmarks/side.py ours|eager|compiled|slm_ours|slm_torch PRESET FOLDER

Requests and answers are lines of JSON. `eager` makes the original with random weights
and leaves them, and what it computes of a probe, in FOLDER; the others read them. So
does `slm_ours` for `slm_torch`.
"""

import contextlib
import importlib
import json
import pathlib
import statistics
import sys
import time

import numpy as np

BANDWIDTH = 6.0  # of EnCodec, kbps; DAC uses all of its codebooks
TURN = 0.3  # seconds
SIDES = {
  "ours": ("ours", "Ours"),
  "eager": ("theirs", "Theirs"),
  "compiled": ("theirs", "Theirs"),
  "slm_ours": ("slm_ours", "SlmOurs"),
  "slm_torch": ("slm_torch", "SlmTorch"),
}


def main():
  name, preset, folder = sys.argv[1:]
  answers = sys.stdout
  with contextlib.redirect_stdout(sys.stderr):
    module, kind = SIDES[name]
    kind = getattr(importlib.import_module(module), kind)
    side = kind(preset, pathlib.Path(folder), name == "compiled")
    _answer(answers, {"whats": list(side.functions)})
    inputs = {}
    for line in sys.stdin:
      request = json.loads(line)
      if request["what"] == "agreement":
        _answer(answers, {"text": side.agreement()})
        continue
      key = request["what"], request["shape"]
      if key not in inputs:
        inputs[key] = side.inputs(key[0], *map(int, key[1].split("x")))
      _answer(answers, _timed(side, key[0], inputs[key]))


def _timed(side, what, inputs):
  """Median of the runs in a turn: one, or as many as fit, behind one to warm up."""
  _reset_peak()
  # The other side's threads spin for a while after its turn.
  time.sleep(0.1)
  try:
    seconds = [_seconds(side, what, inputs)]
    if seconds[0] < TURN:
      seconds = [_seconds(side, what, inputs)]
    while sum(seconds) + seconds[-1] < TURN:
      seconds.append(_seconds(side, what, inputs))
  except Exception as error:  # torch.compile cannot do every model
    return {"error": repr(error)[:200]}
  return {"seconds": statistics.median(seconds), "peak_mb": _peak_mb()}


def _seconds(side, what, inputs):
  start = time.perf_counter()
  side.run(what, inputs)
  return time.perf_counter() - start


def _reset_peak():
  pathlib.Path("/proc/self/clear_refs").write_text("5")


def _peak_mb():
  """Most resident memory since `_reset_peak`, MB."""
  status = pathlib.Path("/proc/self/status").read_text()
  return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _answer(stream, answer):
  stream.write(json.dumps(answer) + "\n")
  stream.flush()


def speech_like(items: int, samples: int, channels: int) -> np.ndarray:
  """Noise that swells and fades, (B, N, C) float32; the same for all sides."""
  rng = np.random.default_rng(0)
  noise = rng.standard_normal((items, samples, channels))
  swell = 0.1 * (1 + np.sin(np.arange(samples) / 3000))
  return (swell[None, :, None] * noise).astype(np.float32)


if __name__ == "__main__":
  main()
