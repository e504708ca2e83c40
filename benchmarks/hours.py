"""Hours of sound through `encode` and `decode` as streams: memory, speed, and kills.

    pip install -e ".[test]"
    python benchmarks/hours.py --hours=10 --presets=encodec_24khz,dac_16khz

The sound is a minute of noise again and again, given and taken as raw samples through
pipes; the weights are random. Each command is first killed (SIGKILL) after a tenth and
after a fifth of the hours, in whole minutes: what it has written by then must be what a
whole run writes there. `lost` is what `encode` had been given beyond. Memory is the
most that the process ever held; hours an hour are those of the whole run, with its
start.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from side import speech_like

from jaxcodec import token_file
from jaxcodec.presets import PRESETS

_KILLS = 0.1, 0.2  # of the hours
HEAD = "what", "hours", "peak, GB", "hours an hour", "lost, s"


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--hours", type=float, default=10.0)
  parser.add_argument("--presets", default="encodec_24khz,dac_16khz")
  parser.add_argument("--codebooks", type=int, default=8)
  options = parser.parse_args()
  print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
  for preset in options.presets.split(","):
    with tempfile.TemporaryDirectory() as folder:
      for row in measure(preset, options, pathlib.Path(folder)):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def measure(preset, options, folder):
  """Yields the row of `encode` and that of `decode`."""
  rate, minutes = PRESETS[preset]["sample_rate"], round(options.hours * 60)
  kills = [max(1, round(share * minutes)) for share in _KILLS]
  codec = "--preset", preset, "--weights=random", "--stream", "--raw"
  encode = "encode", "-", *codec, f"--num-codebooks={options.codebooks}", "--out=-"
  files = [folder / f"{number}.jxc" for number in range(len(kills) + 1)]
  for file, minute in zip(files, kills, strict=False):
    run(encode, file, _sound(minute, rate), kill=lambda: True)
  seconds, peak = run(encode, files[-1], _sound(minutes, rate))
  *killed, codes_TxK = (token_file.read(file).codes[0] for file in files)
  assert all(np.array_equal(codes, codes_TxK[: len(codes)]) for codes in killed)
  frame = 60 * minutes / len(codes_TxK)
  lost = [
    round(60 * m - frame * len(codes), 1)
    for m, codes in zip(kills, killed, strict=True)
  ]
  yield f"{preset} encode", options.hours, peak, _an_hour(options, seconds), lost

  decode = "decode", str(files[-1]), *codec, "--out=-"
  audio = [folder / f"{number}.raw" for number in range(len(kills) + 1)]
  for file, minute in zip(audio, kills, strict=False):
    wanted = 2 * rate * 60 * minute
    run(decode, file, kill=lambda f=file, n=wanted: f.stat().st_size >= n)
  seconds, peak = run(decode, audio[-1])
  *killed, whole_N = (np.memmap(file, "<i2", "r") for file in audio)
  assert len(whole_N) == 60 * minutes * rate
  assert all(np.array_equal(part_N, whole_N[: len(part_N)]) for part_N in killed)
  yield f"{preset} decode", options.hours, peak, _an_hour(options, seconds), ""


def run(command, out, sound=(), kill=None):
  """Runs a command of the package on pieces of sound, with its output in a file.

  Args:
    command: arguments.
    out: path of what it writes.
    sound: pieces of bytes.
    kill: asked now and then after the sound; kills the process when it is true.

  Returns:
    Seconds that it took, and the most memory that it held in GB.
  """
  begin = time.monotonic()
  with open(out, "wb") as file:
    process = subprocess.Popen(
      [sys.executable, "-m", "jaxcodec", *command], stdin=subprocess.PIPE, stdout=file
    )
    for piece in sound:
      process.stdin.write(piece)
    while kill and not kill():
      time.sleep(0.1)
    if kill:
      process.kill()
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
  assert status == 0 or kill, f"{command[0]} failed"
  return time.monotonic() - begin, round(usage.ru_maxrss / 2**20, 2)


def _sound(minutes, rate):
  """Yields one minute of noise so many times, as 16-bit samples."""
  noise_N = np.clip(speech_like(1, 60 * rate, 1)[0, :, 0], -1, 0.999)
  yield from [(2**15 * noise_N).astype("<i2").tobytes()] * minutes


def _an_hour(options, seconds):
  return round(3600 * options.hours / seconds, 1)


if __name__ == "__main__":
  main()
