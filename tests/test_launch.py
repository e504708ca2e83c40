"""Launchers name existing files and flags, and fit SLURM, JobSet and gcloud."""

import contextlib
import errno
import importlib.util
import io
import pathlib
import re
import subprocess

import pytest
import yaml
from test_configs import load

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SCRIPTS = ("slurm.sbatch", "tpu_pod.sh")


def fields(tree, prefix="config"):
  yield prefix
  if isinstance(tree, dict):
    for name, value in tree.items():
      yield from fields(value, f"{prefix}.{name}")


@pytest.fixture(scope="module")
def flags():
  """Returns the flags of launch/main.py and the fields of a config."""
  defined = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', (LAUNCH / "main.py").read_text())
  return {*defined, *fields(load(ROOT / "configs" / "dac_maskgit.py").to_dict())}


@pytest.mark.parametrize("name", [*SCRIPTS, "jobset.yaml", "README.md"])
def test_commands_name_what_there_is(name, flags):
  text = (LAUNCH / name).read_text().replace("\\\n", " ")
  for path in re.findall(r"\b(?:launch|configs)/\w+\.\w+", text):
    assert (ROOT / path).exists(), path
  commands = re.findall(r"(?:launch/main\.py|slurm\.sbatch|start) .*--.*", text)
  used = {f for line in commands for f in re.findall(r"--([a-z_]+(?:\.\w+)*)", line)}
  assert "config" in used or "config.mesh.fsdp" in used
  assert used <= flags, used - flags


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_bash(name):
  done = subprocess.run(["bash", "-n", str(LAUNCH / name)], capture_output=True)
  assert (done.returncode, done.stderr) == (0, b"")


def test_tpu_script_says_what_it_wants(tmp_path):
  """Replaces gcloud by a program that prints its arguments."""
  fake = tmp_path / "gcloud"
  fake.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
  fake.chmod(0o755)

  def run(*arguments, **variables):
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", **variables}
    command = ["bash", str(LAUNCH / "tpu_pod.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    return done.returncode, done.stdout, done.stderr

  slice_ = {"NAME": "slice", "ZONE": "z1"}
  code, out, _ = run("start", "--config.mesh.fsdp=8", **slice_, DATA="/a b")
  assert code == 0 and "--worker=all" in out and "--zone=z1" in out
  assert "--coordinator=auto" in out and "--config.mesh.fsdp=8" in out
  assert r"--config.data.path=/a\ b" in out
  assert "the name of the TPU slice" in run("start")[2]
  assert run("begin", **slice_)[0] == 2


def test_jobset_has_what_its_api_asks_for():
  """Checks the fields that JobSet v1alpha2 and batch/v1 require or that we rely on."""
  jobset = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
  assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
  assert jobset["kind"] == "JobSet"
  name, spec = jobset["metadata"]["name"], jobset["spec"]
  assert spec["network"]["enableDNSHostnames"]
  (job,) = spec["replicatedJobs"]
  template = job["template"]["spec"]
  assert template["completionMode"] == "Indexed"  # gives JOB_COMPLETION_INDEX
  assert template["parallelism"] == template["completions"]
  pod = template["template"]["spec"]
  assert pod["restartPolicy"] == "Never"
  (container,) = pod["containers"]
  assert container["image"] and container["resources"]["limits"]["nvidia.com/gpu"] > 0
  mounted = {mount["name"] for mount in container["volumeMounts"]}
  assert mounted == {volume["name"] for volume in pod["volumes"]}
  (machines,) = container["env"]
  assert int(machines["value"]) == template["completions"]
  # Pod 0 of job 0, as the headless service names it.
  port = container["ports"][0]["containerPort"]
  host = f"{name}-{job['name']}-0-0.{spec['network']['subdomain']}"
  assert f"--coordinator={host}:{port}" in container["args"][0]


def test_a_full_or_read_only_disk_is_the_users_to_mend():
  spec = importlib.util.spec_from_file_location("errors", LAUNCH / "errors.py")
  errors = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(errors)
  full = OSError(errno.ENOSPC, "No space left on device", "/data/a.wav")
  assert errors.is_disk(full) and errors.is_disk(OSError(errno.EROFS, "Read-only"))
  assert not errors.is_disk(OSError(errno.EBADF, "Bad file descriptor"))
  stderr = io.StringIO()
  with contextlib.redirect_stderr(stderr):
    assert errors.fail(full) == 2
  assert stderr.getvalue() == (
    "error: [Errno 28] No space left on device: '/data/a.wav'\n"
  )
