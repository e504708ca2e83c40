"""A skip that no line of the list allows fails the run, in one process and in two."""

import os
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).parent
# One skip while running, one while collecting.
FILES = {
  "test_a.py": "import pytest\ndef test_a(): pytest.skip('no device')\n",
  "test_b.py": "import pytest\npytest.importorskip('no_such_package')\n",
  "test_c.py": "def test_c(): pass\n",
}
DEVICE = r"test_a\.py::test_a: no device  # not everybody has one"
PACKAGE = r"test_b\.py: could not import 'no_such_package'  # nobody has it"


def run(folder, lines, processes):
  for name, text in FILES.items():
    (folder / name).write_text(text)
  (folder / "list.txt").write_text("# a comment\n\n" + "\n".join(lines) + "\n")
  (folder / "pytest.ini").write_text("[pytest]\n")
  options = ["-n", processes, "--allowed-skips=list.txt", "-p", "no:cacheprovider"]
  done = subprocess.run(
    [sys.executable, "-m", "pytest", "-p", "skip_list", *options],
    cwd=folder,
    env={**os.environ, "PYTHONPATH": str(TESTS)},
    capture_output=True,
    text=True,
  )
  return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_is_on_the_list_may_be_skipped(tmp_path, processes):
  code, said = run(tmp_path, [DEVICE, PACKAGE], processes)
  assert (code, "not on the list" in said) == (0, False), said


@pytest.mark.parametrize("processes", ["0", "2"])
@pytest.mark.parametrize(
  "allowed, refused", [(DEVICE, "test_b.py"), (PACKAGE, "test_a.py::test_a: no device")]
)
def test_what_is_not_on_the_list_fails_the_run(tmp_path, allowed, refused, processes):
  code, said = run(tmp_path, [allowed], processes)
  assert code == 1
  (line,) = [line for line in said.splitlines() if "not on the list" in line]
  assert refused in line


def test_a_line_must_say_why(tmp_path):
  code, said = run(tmp_path, ["test_a"], "0")
  assert code == pytest.ExitCode.USAGE_ERROR
  assert "expected '<regex>  # <why>', got 'test_a'" in said
