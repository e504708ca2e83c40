"""A study is read back from a folder that was moved or has only its JSON files."""

import json
import shutil

import numpy as np
import pytest
from study_helpers import plan, settings, write_cells, write_sounds

from jaxcodec import files, study
from jaxcodec.evals.results import read_results
from jaxcodec.stats.significance import compare
from jaxcodec.study.collect import collect
from jaxcodec.study.grid import StudyError

CODECS = ["dacq_vocos", "dac"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("saved") / "study"
  cells = plan(folder, codecs=CODECS, seeds=[0, 1])
  write_cells(cells[:-1])  # dac-other-s1 is missing
  write_sounds(cells[:-1])
  found = collect(settings(codecs=CODECS, seeds=[0, 1]), cells, {})
  files.write_json(folder / "study.json", found)
  return folder


@pytest.fixture
def thin(folder, tmp_path):
  """Copies only study.json and the cells' results.json to another folder."""
  for path in (folder / "study.json", *folder.glob("cells/*/results.json")):
    copy = tmp_path / path.relative_to(folder)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
  return tmp_path


def test_the_rows_give_the_numbers_again(folder, thin):
  for found in map(study.load, (folder, thin)):
    for slm, measure in ((None, "pesq_wb"), ("maskgit", "wer"), ("other", "wer")):
      said = found.comparison(measure, *CODECS, slm)
      assert said == {**said, **compare(found.aligned(measure, slm), 0, 1)}
    assert list(found.codecs) == CODECS
    assert {slm: list(s["dac"]) for slm, s in found.slms.items()} == {
      "maskgit": [0, 1],
      "other": [0],
    }


def test_sounds_are_found_where_they_are(folder, thin):
  (sentence, *_) = study.load(folder).sentences()
  assert {clip.system for clip in sentence.clips} >= {"original", "dac, other"}
  assert study.load(thin).sentences() == []


def test_what_the_study_does_not_have_is_named(thin):
  found = study.load(thin)
  with pytest.raises(StudyError, match=r"slm: 'valle' is none of \['maskgit'"):
    found.aligned("wer", "valle")
  with pytest.raises(StudyError, match="generation.pesq_wb of every codec"):
    found.aligned("pesq_wb", "maskgit")
  with pytest.raises(StudyError, match="study.json: there is no comparison .*encodec"):
    found.comparison("wer", "encodec", "dac", "maskgit")


def test_files_that_are_missing_or_broken_are_named(thin):
  results = thin / "cells" / "dac-maskgit-s1" / "results.json"
  results.write_text("{")
  with pytest.raises(StudyError, match="dac-maskgit-s1/results.json: not JSON"):
    study.load(thin)
  results.unlink()
  with pytest.raises(StudyError, match="dac-maskgit-s1: there is no results.json"):
    study.load(thin)
  path = thin / "study.json"
  for content, message in (
    ("{", "not JSON"),
    ("[1]", "no settings, cells"),
    ('{"settings": {"codecs": []}, "cells": {}, "comparisons": []}', "settings.seeds"),
  ):
    path.write_text(content)
    with pytest.raises(StudyError, match=f"study.json: .*{message}"):
      study.load(thin)
  path.unlink()
  with pytest.raises(StudyError, match="study.json: no such file"):
    study.load(thin)


def test_the_rows_are_those_of_results_json(thin):
  path = thin / "cells" / "dac-other-s0" / "results.json"
  rows = [r for r in read_results(path)["utterances"] if r["set"] == "generation"]
  found = study.load(thin).aligned("wer", "other")
  errors_U = np.array([row["wer"] * row["wer_weight"] for row in rows])
  order = np.argsort([row["id"] for row in rows])
  np.testing.assert_array_equal(found.top_UxM[:, 1], errors_U[order])
  assert json.loads((thin / "study.json").read_text()) == study.load(thin).numbers
