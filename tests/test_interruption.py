"""After a kill in any stage, the same command finishes the experiment."""

import json
import signal
import time

import pytest
from test_configs import DAC_MASKGIT, check_experiment, start, tiny

from jaxcodec import files
from jaxcodec.pipeline import STAGES

pytestmark = pytest.mark.slow
SECONDS = 240


def _kill_in(stage, workdir):
  process = start(DAC_MASKGIT, workdir)
  end = time.monotonic() + SECONDS
  while not (workdir / stage / "STARTED.json").exists():
    assert process.poll() is None, process.stdout.read()
    assert time.monotonic() < end, f"{stage} did not start"
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  return (workdir / stage / "DONE.json").exists()


def test_kill_in_every_stage(tmp_path):
  pytest.importorskip("hibari")
  for stage in STAGES:
    assert not _kill_in(stage, tmp_path), f"{stage} was done before the kill"
    # What a kill leaves that falls between the writing of a file and its renaming.
    (tmp_path / stage / ".split.1.part.json").write_text("{")
  process = start(DAC_MASKGIT, tmp_path)
  output, _ = process.communicate(timeout=SECONDS)
  assert process.returncode == 0, output
  for stage in STAGES:
    record = json.loads((tmp_path / stage / "DONE.json").read_text())
    for name, file in record["outputs"].items():
      assert files.sha256(tmp_path / stage / name) == file["sha256"]
  assert not [p for p in tmp_path.rglob("*") if ".part" in p.name or "tmp" in p.name]
  assert not list(tmp_path.glob("*.stale-*"))
  assert "report.html" in output
  check_experiment(tmp_path, tiny(DAC_MASKGIT))
