"""What `jaxcodec doctor` says, and its exit code."""

import pathlib

import pytest
from data_helpers import write_tone

from jaxcodec import doctor
from jaxcodec.cli import main
from jaxcodec.doctor import data, diagnosis
from jaxcodec.recipes import config_file

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "dac_maskgit.py:runlocal")


@pytest.mark.slow
def test_a_machine_that_can_train(capsys):
  assert main.main(["doctor"]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(":")[0] for line in lines] == [
    "PASS  devices",
    "PASS  collective",
    "PASS  codec",
    "PASS  codec",
    "PASS  language model",
    "PASS  language model",
  ]
  assert "8 x cpu" in lines[0] and "sum over 8 devices" in lines[1]
  assert "perplexity" in lines[3]


@pytest.fixture
def well(monkeypatch):
  """Replaces the examinations by ones that find nothing wrong."""
  for part in (doctor.devices, doctor.overfit):
    for name in ("products", "collective", "memory", "codec", "slm"):
      if hasattr(part, name):
        monkeypatch.setattr(part, name, lambda: [("PASS", "well")])


def test_one_that_cannot(well, monkeypatch, capsys):
  assert main.main(["doctor"]) == 0
  monkeypatch.setattr(doctor.overfit, "codec", lambda: [("FAIL", "mel 3 to 2.9")])
  assert main.main(["doctor"]) == 1
  assert "FAIL  codec: mel 3 to 2.9" in capsys.readouterr().out


def test_what_an_examination_raises_is_a_failure(well, monkeypatch, capsys):
  def broken():
    yield "PASS", "the first device"
    raise RuntimeError("no kernel image\nmore")

  monkeypatch.setattr(doctor.devices, "products", broken)
  assert main.main(["doctor"]) == 1
  out = capsys.readouterr().out
  assert "FAIL  devices: RuntimeError: no kernel image\n" in out
  assert "PASS  language model" in out  # the others are examined all the same


@pytest.fixture
def folder(tmp_path):
  for number in range(30):
    write_tone(tmp_path / "clips" / f"{number}.wav", seconds=1.0, hz=100.0 + number)
  return tmp_path / "clips"


@pytest.mark.parametrize("consumed, status", [(0.1, "PASS"), (1e9, "WARN")])
def test_data_and_their_rate(well, folder, monkeypatch, capsys, consumed, status):
  monkeypatch.setattr(data, "_SECONDS", 0.1)
  monkeypatch.setattr(data, "_training_rate", lambda *_: consumed)
  changes = ("data.source=folder", f"data.path={folder}", "mesh.data=2")
  arguments = [part for change in changes for part in ("--set", change)]
  assert main.main(["doctor", "--config", CONFIG, *arguments]) == 0
  first, second = capsys.readouterr().out.splitlines()[-2:]
  assert first.startswith("PASS  data: 30 recordings, 0.01 h")
  assert second.startswith(f"{status}  data: the input alone gives")


def test_data_that_cannot_be_read(well, tmp_path, capsys):
  changes = ["--set", "data.source=folder", "--set", f"data.path={tmp_path / 'none'}"]
  assert main.main(["doctor", "--config", CONFIG, *changes]) == 1
  assert "FAIL  data: DataError: " in capsys.readouterr().out


def test_configs_that_are_none(tmp_path, capsys):
  assert main.main(["doctor", "--config", str(tmp_path / "x.py")]) == 2
  assert "no config at" in capsys.readouterr().err
  (tmp_path / "x.py").write_text("")
  with pytest.raises(ValueError, match="x.py has no get_config"):
    config_file.load(str(tmp_path / "x.py"))
  with pytest.raises(ValueError, match="--set: 'data.pth' is no field of"):
    config_file.load(CONFIG, ["data.pth=a"])
  assert config_file.load(CONFIG, ["slm.depth=2"]).slm.depth == 2


def test_diagnoses_say_how_long_they_took():
  (found,) = diagnosis.examine("it", lambda: [("WARN", "odd")])
  assert str(found) == "WARN  it: odd [0.0 s]"


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("no backend 'cuda'")])
def test_a_platform_that_jax_cannot_start(monkeypatch, capsys, error):
  def devices():
    raise error

  monkeypatch.setenv("JAX_PLATFORMS", "cuda")
  monkeypatch.setattr(doctor.devices.jax, "devices", devices)
  assert main.main(["doctor"]) == 1
  (line,) = capsys.readouterr().out.splitlines()
  assert line.startswith("FAIL  devices: ") and "JAX_PLATFORMS=cuda asks for" in line
  assert str(error) in line and 'pip install "jax[cuda13]"' in line
