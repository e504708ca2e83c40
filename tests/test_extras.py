"""Extras: their packages are declared, the base needs none, errors name them."""

import pathlib
import re
import sys
import tomllib

import pytest

from jaxcodec import recipes
from jaxcodec.build.fields import ConfigError
from jaxcodec.data import extras
from jaxcodec.pipeline import packages
from jaxcodec.pipeline.experiment import plain

PYPROJECT = pathlib.Path(__file__).parents[1] / "pyproject.toml"
# Declared for the sake of another package.
UNNAMED = {"setuptools"}


def _names(requirements):
  return {re.split(r"[<>=!~\[;]", one)[0] for one in requirements}


@pytest.fixture(scope="module")
def project():
  return tomllib.loads(PYPROJECT.read_text())["project"]


def test_the_table_is_what_the_project_declares(project):
  declared = project["optional-dependencies"]
  for extra, brought in extras.EXTRAS.items():
    assert set(brought) == _names(declared[extra]) - UNNAMED, extra


def test_all_has_every_extra_but_gpl_torch_and_what_needs_files(project):
  declared = project["optional-dependencies"]
  (everything,) = declared["all"]
  listed = set(everything.removeprefix("jaxcodec[").removesuffix("]").split(","))
  left = {"espeak", "lyra", "mos", "speaker"}
  assert set(extras.EXTRAS) - listed == left
  assert listed <= set(declared)


def test_the_base_has_nothing_of_an_extra(project):
  optional = {name for packages in extras.EXTRAS.values() for name in packages}
  assert not _names(project["dependencies"]) & optional


def test_install_lines():
  assert extras.install_line(["pesq", "jiwer"]) == 'pip install "jaxcodec[eval]"'
  assert extras.install_line(["wetext"], "espeak") == 'pip install "jaxcodec[espeak]"'
  line = 'pip install "jaxcodec[eval,report]" torch'
  assert extras.install_line(["pesq", "torch", "pillow"]) == line


def test_missing():
  assert extras.missing(["numpy", "no-such-thing", "no-such-thing"]) == [
    "no-such-thing"
  ]
  assert extras.versions(["no-such-thing", "pytest"]) == {"pytest": pytest.__version__}


def test_a_missing_package_is_one_error(monkeypatch):
  monkeypatch.setitem(sys.modules, "pesq", None)
  message = r'x=1 needs the package pesq, which .*: pip install "jaxcodec\[eval\]"'
  with pytest.raises(extras.MissingPackage, match=message):
    extras.import_modules("pesq", "numpy", "pesq", field="x=1", extra="eval")


ALL_STAGES = "codec tokens slm generate evaluate report".split()


@pytest.mark.parametrize(
  ("absent", "stages", "line"),
  [
    ({"hibari-tts"}, ["codec"], '"jaxcodec[corpus]"'),
    ({"wetext", "pesq"}, ["codec"], '"jaxcodec[text]"'),
    ({"wetext", "pesq", "jinja2"}, ALL_STAGES, '"jaxcodec[text,eval,report]"'),
    ({"jinja2", "phonemizer", "torch"}, ["slm"], None),
  ],
)
def test_one_error_names_all_that_an_experiment_lacks(
  monkeypatch, absent, stages, line
):
  monkeypatch.setattr(extras, "_version", lambda name: name not in absent)
  config = plain(recipes.experiment("runlocal", codec_name="dac", slm="valle"))
  if line is None:
    packages.check_packages(config, stages)
    return
  with pytest.raises(ConfigError) as error:
    packages.check_packages(config, stages)
  assert str(error.value).endswith(f": pip install {line}")
