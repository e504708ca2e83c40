"""Hours of sound through `encode` and `decode` as streams: memory, speed, and kills.

    pip install -e ".[test]"
    python benchmarks/hours.py --hours=10 --presets=encodec_24khz,dac_16khz

The sound is a minute of noise again and again, given and taken as raw samples through
pipes, and `decode` is given that minute's codes as often; the weights are random. Each
command is first killed (SIGKILL) after a hundredth and after a fiftieth of the hours,
in whole minutes: what it has written by then must be what a whole run writes there.
`lost` is what `encode` had been given beyond. Memory is the most that the process ever
held; hours an hour are those of the whole run, with its start.
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
from jaxcodec.coding.growing import Reader, Writer
from jaxcodec.presets import PRESETS

_KILLS = 0.01, 0.02  # of the hours
HEAD = "what", "hours", "peak, GB", "hours an hour", "lost, s"


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--hours", type=float, default=10.0)
  parser.add_argument("--presets", default="encodec_24khz,dac_16khz")
  parser.add_argument("--commands", default="encode,decode")
  parser.add_argument("--codebooks", type=int, default=8)
  options = parser.parse_args()
  print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
  measures = {"encode": encode, "decode": decode}
  for preset in options.presets.split(","):
    for command in options.commands.split(","):
      with tempfile.TemporaryDirectory() as folder:
        row = measures[command](preset, options, pathlib.Path(folder))
      print("| " + " | ".join(map(str, row)) + " |", flush=True)


def encode(preset, options, folder):
  """Returns the row of `encode`."""
  rate, (minutes, kills) = PRESETS[preset]["sample_rate"], _minutes(options)
  command = _encode(preset, options)
  *killed, whole = (folder / f"{number}.jxc" for number in range(len(kills) + 1))
  for file, minute in zip(killed, kills, strict=True):
    run(command, file, _sound(minute, rate), kill=lambda: True)
  seconds, peak = run(command, whole, _sound(minutes, rate))
  codes_TxK = token_file.read(whole).codes[0]
  lost = []
  for file, minute in zip(killed, kills, strict=True):
    part_TxK = token_file.read(file).codes[0]
    assert np.array_equal(part_TxK, codes_TxK[: len(part_TxK)])
    lost.append(round(60 * (minute - minutes * len(part_TxK) / len(codes_TxK)), 1))
  return f"{preset} encode", options.hours, peak, _an_hour(options, seconds), lost


def decode(preset, options, folder):
  """Returns the row of `decode`."""
  rate, (minutes, kills) = PRESETS[preset]["sample_rate"], _minutes(options)
  tokens = _tokens(preset, options, folder)
  command = "decode", str(tokens), *_codec(preset), "--out=-"
  *killed, whole = (folder / f"{number}.raw" for number in range(len(kills) + 1))
  for file, minute in zip(killed, kills, strict=True):
    wanted = 2 * rate * 60 * minute
    run(command, file, kill=lambda f=file, n=wanted: f.stat().st_size >= n)
  seconds, peak = run(command, whole)
  audio_N = np.memmap(whole, "<i2", "r")
  assert len(audio_N) == 60 * minutes * rate
  for file in killed:
    part_N = np.memmap(file, "<i2", "r")
    assert np.array_equal(part_N, audio_N[: len(part_N)])
  return f"{preset} decode", options.hours, peak, _an_hour(options, seconds), ""


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


def _tokens(preset, options, folder):
  """Writes the codes of a minute so many times; returns the file's path."""
  rate, (minutes, _) = PRESETS[preset]["sample_rate"], _minutes(options)
  minute, tokens = folder / "minute.jxc", folder / "tokens.jxc"
  run(_encode(preset, options), minute, _sound(1, rate))
  reader = Reader()
  codes_TxK = np.concatenate(reader.feed(minute.read_bytes()))
  with open(tokens, "wb") as file:
    writer = Writer(file, reader.header)
    for _ in range(minutes):
      writer.write(codes_TxK)
    writer.end(60 * minutes * rate)
  return tokens


def _encode(preset, options):
  codebooks = f"--num-codebooks={options.codebooks}"
  return "encode", "-", *_codec(preset), codebooks, "--out=-"


def _codec(preset):
  return "--preset", preset, "--weights=random", "--stream", "--raw"


def _minutes(options):
  """Returns the minutes of the whole run, and those before the kills."""
  minutes = round(60 * options.hours)
  return minutes, [max(1, round(share * minutes)) for share in _KILLS]


def _sound(minutes, rate):
  """Yields one minute of noise so many times, as 16-bit samples."""
  noise_N = np.clip(speech_like(1, 60 * rate, 1)[0, :, 0], -1, 0.999)
  yield from [(2**15 * noise_N).astype("<i2").tobytes()] * minutes


def _an_hour(options, seconds):
  return round(3600 * options.hours / seconds, 1)


if __name__ == "__main__":
  main()
