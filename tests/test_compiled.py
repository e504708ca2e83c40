"""Programs of all kinds as compilers for accelerators that aren't here see them."""

import json
import os
import subprocess
import sys

import pytest
from test_configs import ROOT


@pytest.fixture
def compiled(monkeypatch):
  monkeypatch.syspath_prepend(ROOT / "benchmarks")
  import compiled

  return compiled


@pytest.mark.parametrize(
  "name,kernels",
  [("train dac", 0), ("train valle", 4), ("decode maskgit", 1), ("rvq kernel", 1)],
)
def test_a_gpus_programs_have_kernels_and_nothing_wrong(compiled, name, kernels):
  cell = compiled.measure(name, "cuda", tiny=True)
  assert cell["kernels"] >= kernels and not compiled.wrong(cell)


def test_what_is_wrong_with_a_program_is_found(compiled):
  text = """
    %1 = "stablehlo.case"(%0) : (tensor<i32>) -> tensor<2x70x72xbf16>
    %2 = f32[2,70,72]{2,1,0} conditional(%0), custom_call_target="tpu_custom_call"
    %3 = f32[72,72]{1,0} copy(%2)
    %4 = f32[70,2,70]{2,1,0} copy(%2)
  """
  found = compiled.read(text, (70, 71))
  assert found == {"kernels": 1, "conditions": 2, "squares": ["70x2x70"]}
  cell = {**found, "single": ["codec.py:7"], "held": 3e9, "limit": 2e9}
  lines = compiled.wrong(cell)
  assert len(lines) == 4 and "codec.py:7" in lines[0] and "3.0 GB of 2.0" in lines[3]


@pytest.mark.slow
def test_a_tpus_compiler_takes_the_programs(compiled, tmp_path):
  pytest.importorskip("libtpu")
  names = "rvq kernel,train maskgit,decode valle first"
  command = [sys.executable, "benchmarks/compiled.py", "--tiny", f"--out={tmp_path}"]
  command += ["--targets=v5p", f"--programs={names}"]
  env = {**os.environ, "XLA_FLAGS": ""}
  done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  cells = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
  assert all(cell["kernels"] and cell["held"] > cell["temporary"] for cell in cells)
