"""Kills training with -9 at random moments and compares what it ends with, bit for bit.

    python tests/faults/kill_and_resume.py --processes=1 --kills=20
    python tests/faults/kill_and_resume.py --processes=2 --kills=20

It trains `killed_codec.py` uninterrupted, then again in another folder. There it kills
a randomly chosen process at a random moment and starts all of them again, until it has
killed enough: a quarter of the times while the program starts, otherwise within seconds
of its first step. A process whose peer was killed must exit by itself within a minute,
with an error. In the end both folders' last checkpoints must hold the same bits, and
their metrics the same numbers.
"""

import argparse
import collections
import dataclasses
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import safetensors.numpy
from killed_codec import FINAL

from jaxcodec.train.metrics_file import FILE, read_metrics

PROGRAM = pathlib.Path(__file__).with_name("killed_codec.py")
# How long a process may take to notice that another one died.
ALONE_SECONDS = 60
_TIMED = (
  "time",
  "step_seconds",
  "step_seconds_std",
  "input_wait_fraction",
  "examples_per_s",
  "examples_per_s_per_device",
  "flops_per_s_per_device",
)


@dataclasses.dataclass
class Team:
  """The processes of one run.

  Attributes:
    members: in order of their ids.
    folder: of their output.
    start_time: by `time.time()`.
  """

  members: list[subprocess.Popen]
  folder: pathlib.Path
  start_time: float

  def output(self) -> str:
    """Returns the end of each process' output."""
    return "\n".join(
      f"--- process {i}\n{(self.folder / f'{i}.log').read_text()[-3000:]}"
      for i in range(len(self.members))
    )

  def finish(self, seconds: float) -> list[int]:
    """Waits for all processes to end; returns their exit codes.

    Raises:
      TimeoutError: some haven't after `seconds`; they are killed then.
    """
    end = time.monotonic() + seconds
    try:
      return [p.wait(max(0.0, end - time.monotonic())) for p in self.members]
    except subprocess.TimeoutExpired:
      for member in self.members:
        member.kill()
        member.wait()
      raise TimeoutError(f"not over after {seconds} s\n{self.output()}") from None


def start(workdir: pathlib.Path, processes: int, *more: str) -> Team:
  """Starts the program's processes on `workdir`, `more` being further arguments."""
  folder = workdir.with_name(f"{workdir.name}.logs")
  folder.mkdir(parents=True, exist_ok=True)
  command = [sys.executable, str(PROGRAM), str(workdir), *more]
  if processes > 1:
    with socket.create_server(("127.0.0.1", 0)) as server:
      port = server.getsockname()[1]
    command += [f"--coordinator=127.0.0.1:{port}", f"--num_processes={processes}"]
  members, start_time = [], time.time()
  for index in range(processes):
    number = [f"--process_id={index}"] if processes > 1 else []
    with open(folder / f"{index}.log", "w") as log:
      members.append(subprocess.Popen([*command, *number], stdout=log, stderr=log))
  return Team(members, folder, start_time)


def complete(workdir: pathlib.Path, processes: int, *more: str) -> float:
  """Runs to the end; returns the seconds until the first checkpoint.

  Raises:
    RuntimeError: the program failed; the message has its output.
  """
  team, begin, startup = start(workdir, processes, *more), time.monotonic(), None
  while startup is None and all(p.poll() is None for p in team.members):
    if list((workdir / "checkpoints").glob("*")):
      startup = time.monotonic() - begin
    time.sleep(0.02)
  if any(team.finish(600)):
    raise RuntimeError(f"training failed\n{team.output()}")
  return time.monotonic() - begin if startup is None else startup


def await_step(workdir: pathlib.Path, team: Team) -> None:
  """Waits until the team has done a step, or has ended."""
  while all(member.poll() is None for member in team.members):
    records = read_metrics(workdir) if (workdir / FILE).exists() else []
    if any(r["time"] > team.start_time and "compile_seconds" not in r for r in records):
      return
    time.sleep(0.02)


def kill_one(
  workdir: pathlib.Path,
  processes: int,
  moment: float,
  victim: int,
  training: bool,
  *more: str,
) -> str | None:
  """Starts the program and kills one of its processes.

  Args:
    workdir, processes, more: see `start`.
    moment: seconds from the start, or from the first step if `training`.
    victim: which process.
    training: whether to wait for the first step.

  Returns:
    What happened, in words; None if the program had finished by then.
  """
  team = start(workdir, processes, *more)
  if training:
    await_step(workdir, team)
  time.sleep(moment)
  if team.members[victim].poll() is not None:
    team.finish(ALONE_SECONDS)
    return None
  phase = _describe_phase(workdir, training)
  team.members[victim].kill()
  killed = time.monotonic()
  codes = team.finish(ALONE_SECONDS)
  others = [code for i, code in enumerate(codes) if i != victim]
  if 0 in others:
    raise RuntimeError(f"a process finished without its peer\n{team.output()}")
  ended = f", the other ended with {others[0]} after" if others else ""
  seconds = f" {time.monotonic() - killed:.1f} s" if others else ""
  return f"{phase}, process {victim}{ended}{seconds}"


def _describe_phase(workdir: pathlib.Path, training: bool) -> str:
  checkpoints = [path.name for path in (workdir / "checkpoints").glob("*")]
  saved = max((int(name) for name in checkpoints if name.isdigit()), default=0)
  saving = any(not name.isdigit() for name in checkpoints)
  phase = "saving" if saving else "training" if training else "starting"
  return f"{phase} after step {saved}"


def differences(one: pathlib.Path, other: pathlib.Path) -> dict[str, float]:
  """Returns the largest difference of each array whose final bits aren't equal."""
  left, right = (safetensors.numpy.load_file(path / FINAL) for path in (one, other))
  if left.keys() != right.keys():
    raise RuntimeError(f"other arrays: {sorted(left.keys() ^ right.keys())}")
  return {
    name: float(np.abs(left[name].astype(float) - right[name].astype(float)).max())
    for name in left
    if left[name].tobytes() != right[name].tobytes()
  }


def curve(workdir: pathlib.Path) -> list[dict]:
  """Returns everything that was logged but times and rates."""
  return [
    {name: value for name, value in record.items() if name not in _TIMED}
    for record in read_metrics(workdir)
    if "compile_seconds" not in record
  ]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--processes", type=int, default=2)
  parser.add_argument("--kills", type=int, default=20)
  parser.add_argument("--steps", type=int, default=1000)
  parser.add_argument(
    "--wait", type=float, default=0.004, help="seconds that reading a clip takes"
  )
  parser.add_argument("--seed", type=int, default=0, help="of moments and victims")
  parser.add_argument("--folder", type=pathlib.Path, help="default: a temporary one")
  args = parser.parse_args()
  folder = args.folder or pathlib.Path(tempfile.mkdtemp())
  shutil.rmtree(folder, ignore_errors=True)
  straight, killed = folder / "straight", folder / "killed"
  options = f"--steps={args.steps}", f"--wait={args.wait}"
  startup = complete(straight, args.processes, *options)
  print(f"uninterrupted: first checkpoint after {startup:.1f} s", flush=True)
  rng, done = random.Random(args.seed), []
  while len(done) < args.kills:
    training, victim = rng.random() < 0.75, rng.randrange(args.processes)
    moment = rng.uniform(0, 3 if training else startup)
    what = kill_one(killed, args.processes, moment, victim, training, *options)
    if what is None:
      sys.exit(f"it was over after {len(done)} kills: give more --steps")
    done.append(what)
    print(f"kill {len(done)} at {moment:.1f} s, {what}", flush=True)
  complete(killed, args.processes, *options)
  different = differences(straight, killed)
  kinds = collections.Counter(what.split(" ")[0] for what in done)
  print(f"{len(done)} kills of {args.processes} processes: {dict(kinds)}")
  if different or curve(straight) != curve(killed):
    sys.exit(f"not the same: {different or 'the metrics'}")
  print("the last checkpoints have the same bits, the metrics the same numbers")


if __name__ == "__main__":
  main()
