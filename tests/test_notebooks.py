"""Every notebook runs from top to bottom, small, and is kept without outputs."""

import pathlib

import compile_flags
import nbformat
import pytest
from nbclient import NotebookClient
from study_helpers import plan, settings, write_cells, write_sounds
from test_configs import load, tiny_values

from jaxcodec import files
from jaxcodec.study.collect import collect

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# The config of which a notebook runs the stages.
SMALL = {"02_train_a_codec": "dac_maskgit", "03_speech_lm": "magnitude_valle"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_kept_without_outputs(path):
  notebook = nbformat.read(path, as_version=4)
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert "find_spec" in code[0].source and "%pip install" in code[0].source
  assert not any(cell.outputs or cell.execution_count for cell in code)


def _small(name):
  """Returns small values, but not of a codec that is taken as it comes."""
  config = load(ROOT / f"configs/{name}.py", "runlocal")
  values = tiny_values(config) | {"mesh.data": -1, "codec_train.log_every": 1}
  if not config.codec_train.steps:
    values = {n: v for n, v in values.items() if not n.startswith("codec")}
  return values


def _parameters(name, folder):
  """Returns the code that is added to a notebook's cell of parameters."""
  if name in SMALL:
    return f"overrides = {_small(SMALL[name])}"
  cells = plan(folder)
  write_cells(cells)
  write_sounds(cells)
  files.write_json(folder / "study.json", collect(settings(), cells, {}))
  return f"STUDY = {str(folder)!r}"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
  # As many as launch/main.py takes: the programs of its tests serve here, too.
  devices = "--xla_force_host_platform_device_count=2"
  monkeypatch.setenv("XLA_FLAGS", f"{compile_flags.FAST} {devices}")
  notebook = nbformat.read(path, as_version=4)
  for cell in notebook.cells:
    if "parameters" in cell.metadata.get("tags", ()):
      cell.source += "\n" + _parameters(path.stem, tmp_path / "study")
  client = NotebookClient(
    notebook, timeout=300, resources={"metadata": {"path": tmp_path}}
  )
  client.execute()
  assert any(cell.get("outputs") for cell in notebook.cells)
