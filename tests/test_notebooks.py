"""Every notebook runs from top to bottom, small, and is kept without outputs."""

import os
import pathlib

import nbformat
import pytest
from nbclient import NotebookClient
from test_configs import TINY

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What stands in for a notebook's cell of parameters, behind it.
SMALL = {
  "02_train_a_codec": {
    "overrides": {**TINY, "mesh.data": -1, "codec_train.log_every": 1},
  },
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_kept_without_outputs(path):
  notebook = nbformat.read(path, as_version=4)
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert "find_spec" in code[0].source and "%pip install" in code[0].source
  assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "")
  if folder := os.environ.get("JAXCODEC_TEST_CACHE"):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", folder)
  notebook = nbformat.read(path, as_version=4)
  for cell in notebook.cells:
    if "parameters" in cell.metadata.get("tags", ()):
      given = SMALL.get(path.stem, {}).items()
      cell.source += "".join(f"\n{name} = {value!r}" for name, value in given)
  client = NotebookClient(
    notebook, timeout=300, resources={"metadata": {"path": tmp_path}}
  )
  client.execute()
  assert any(cell.get("outputs") for cell in notebook.cells)
