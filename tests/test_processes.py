"""A program in two processes: they agree, end together and resume bit for bit."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import compile_flags
import jax
import kill_and_resume
import numpy as np
import pytest
from jaxlib import _jax

from jaxcodec.parallel import rendezvous

ROOT = pathlib.Path(__file__).parents[1]

with_gloo = pytest.mark.skipif(
  not hasattr(_jax, "make_gloo_tcp_collectives"), reason="jaxlib has no gloo here"
)


@pytest.fixture(scope="module", autouse=True)
def environment():
  """Sets the processes' environment: CPU, with one device each unless they say more."""
  jax.devices()  # this process' own, which are not to know of it
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("XLA_FLAGS", compile_flags.FAST)
    patch.setenv("JAX_PLATFORMS", "cpu")
    patch.setenv("PYTHONPATH", str(ROOT))
    yield


BAD = {
  "no port": (
    ("myhost", 2, 0),
    "--coordinator must be HOST:PORT or auto, got 'myhost'",
  ),
  "port too large": (("myhost:70000", 2, 0), "--coordinator must be HOST:PORT"),
  "two colons": (("a:b:80", 2, 0), "--coordinator must be HOST:PORT"),
  "a URL": (("http://h:80", 2, 0), "--coordinator must be HOST:PORT"),
  "no number": (("h:80", 2, None), "all three; got 'h:80', 2, None"),
  "no address": ((None, 2, 1), "all three; got None, 2, 1"),
  "no processes": (("h:80", 0, 0), "--num_processes must be at least 1, got 0"),
  "number too large": (("h:80", 2, 2), "--process_id must be 0 to 1 .*, got 2"),
  "negative number": (("[::1]:80", 2, -1), "--process_id must be 0 to 1 .*, got -1"),
  "auto and more": (("auto", 2, None), "--coordinator=auto finds"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_named(case):
  arguments, message = BAD[case]
  with pytest.raises(rendezvous.LaunchError, match=message):
    rendezvous.initialize(*arguments)


def test_nobody_there_is_an_error_in_time():
  with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
  start = time.monotonic()
  with pytest.raises(rendezvous.LaunchError, match=f"127.0.0.1:{port}: nobody answ"):
    rendezvous.initialize(f"127.0.0.1:{port}", 2, 1, timeout=0.5)
  assert time.monotonic() - start < 5


@pytest.mark.parametrize("variables", [{}, {"SLURM_STEP_NUM_TASKS": "1"}])
def test_alone_nothing_is_waited_for(monkeypatch, variables):
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  rendezvous.initialize()
  assert not jax.distributed.is_initialized()


@pytest.mark.parametrize(
  "variables",
  [{"SLURM_STEP_NUM_TASKS": "8"}, {"TPU_WORKER_HOSTNAMES": "t0,t1"}],
)
def test_in_a_cluster_jax_is_asked(monkeypatch, variables):
  asked = []
  monkeypatch.setattr(jax.distributed, "initialize", lambda **o: asked.append(o))
  monkeypatch.setattr(rendezvous.signal, "signal", lambda *_: None)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  rendezvous.initialize(timeout=7)
  assert asked == [{"initialization_timeout": 7, "heartbeat_timeout_seconds": 100}]


@with_gloo
def test_two_processes_agree_and_end_together(tmp_path):
  with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
  program = sys.executable, ROOT / "tests" / "two_processes.py", tmp_path, str(port)
  pipe = subprocess.PIPE
  team = [
    subprocess.Popen([*program, str(i)], stdout=pipe, stderr=pipe, text=True)
    for i in range(2)
  ]
  said = [process.communicate(timeout=120) for process in team]
  answers = [json.loads(out.splitlines()[-1]) for out, _ in said]
  for i, mine in enumerate(answers):
    assert mine["first"] == (i == 0)
    assert mine["gathered"] == ["äb", "äbäb"] and mine["on_first"] == {"n": 0}
    assert mine["share"] == [[0, 2, 4], [1, 3]][i]
    assert mine["fetched"] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert mine["k-means"] < 1e-6
    whole, half = [0, 1], [i, 2]
    assert mine["shards"] == {
      "data": half,
      "fsdp": half,
      "tensor across": whole,
      "tensor within": half,
    }
  assert answers[0]["stopped"] == answers[1]["stopped"]
  code, step = answers[0]["stopped"]
  last = [int(p.name) for p in (tmp_path / "checkpoints").iterdir()]
  assert code == 143 and step == max(last) < 20
  own, other = "ValueError: bad file in", "OtherProcessError: process"
  assert [m["first failed"] for m in answers] == [
    f"{own} 0",
    f"{other} 0: {own} 0",
  ]
  assert [m["second failed"] for m in answers] == [f"{other} 1: {own} 1", f"{own} 1"]
  assert team[1].returncode == 1 and "bad file in 1" in said[1][1]
  assert team[0].returncode != 0, said[0]


STEPS = ("--steps=60", "--wait=0.004")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """Trains in two processes without interruption."""
  folder = tmp_path_factory.mktemp("processes") / "straight"
  kill_and_resume.complete(folder, 2, *STEPS)
  return folder


@with_gloo
def test_killed_they_end_with_the_same_bits(straight, tmp_path):
  killed = tmp_path / "killed"
  team = kill_and_resume.start(killed, 2, *STEPS)
  kill_and_resume.await_step(killed, team)
  while not any(p.name.isdigit() for p in (killed / "checkpoints").glob("*")):
    assert team.members[0].poll() is None, team.output()
    time.sleep(0.02)
  team.members[1].kill()
  codes = team.finish(60)
  assert codes[0] not in (0, None) and codes[1] == -signal.SIGKILL, team.output()

  kill_and_resume.complete(killed, 2, *STEPS)
  said = (killed.with_name("killed.logs") / "0.log").read_text()
  assert "going on after step" in said
  assert not kill_and_resume.differences(straight, killed)
  assert kill_and_resume.curve(straight) == kill_and_resume.curve(killed)


@with_gloo
def test_sigterm_to_one_ends_both_with_its_code(tmp_path):
  folder = tmp_path / "stopped"
  team = kill_and_resume.start(folder, 2, "--steps=100000", "--wait=0.004")
  kill_and_resume.await_step(folder, team)
  team.members[1].send_signal(signal.SIGTERM)
  assert team.finish(60) == [143, 143], team.output()
  assert any(path.name.isdigit() for path in (folder / "checkpoints").iterdir())


@with_gloo
def test_two_processes_are_two_devices_of_one(straight, tmp_path):
  """Compares k-means, EMA codebooks, losses and weights of global batches."""
  kill_and_resume.complete(tmp_path / "one", 1, "--devices=2", *STEPS)
  found = kill_and_resume.differences(straight, tmp_path / "one")
  assert max(found.values(), default=0) < 1e-6, found
  both = map(kill_and_resume.curve, (straight, tmp_path / "one"))
  for one, other in zip(*both, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5)
