"""study.json and its tables have the numbers of the cells' results.json."""

import csv
import io
import json
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pytest
from study_helpers import CODEC_TRAIN, plan, settings, write_cells

from jaxcodec import presets, stages
from jaxcodec.build.codec import with_defaults
from jaxcodec.evals.results import read_results, write_results
from jaxcodec.report.study.plots import draw_intervals
from jaxcodec.report.study.tables import to_csv, to_markdown
from jaxcodec.stats import significance
from jaxcodec.study.collect import collect
from jaxcodec.study.grid import StudyError
from jaxcodec.study.measurements import align, measurement


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
  cells = plan(tmp_path_factory.mktemp("study"))
  write_cells(cells)
  return cells


@pytest.fixture(scope="module")
def study(cells):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(significance, "_EXCHANGES", 1024)
    yield collect(settings(), cells, {})


def _results(cells, name):
  (cell,) = (cell for cell in cells if cell.name == name)
  return read_results(cell.workdir / "evaluate" / "results.json")


def test_figures_are_those_of_results_json(cells, study):
  for cell in cells:
    if cell.slm:
      results = _results(cells, cell.name)
      found = {
        "generation": study["generation"][cell.slm][cell.codec],
        "reconstruction": study["reconstruction"][cell.codec],
      }
      for group, measures in found.items():
        assert set(measures) == set(results[group])
        for name, m in measures.items():
          assert {**m, "seeds": 0} == {**results[group][name], "seeds": 0}
  truth = _results(cells, "encodecq_vocos-maskgit-s0")["ground_truth"]["wer"]
  assert study["references"]["ground_truth"]["wer"]["mean"] == truth["mean"]


def test_the_csv_has_all_figures_in_full(study):
  rows = list(csv.DictReader(io.StringIO(to_csv(study))))
  assert len(rows) == 4 * 2 + 2 * 4 * 3 + 2 * 3
  for row in rows:
    if row["set"] == "generation":
      m = study["generation"][row["slm"]][row["system"]][row["measure"]]
      assert [float(row[k]) for k in ("mean", "low", "high")] == [m["mean"], *m["ci95"]]


def test_the_same_cells_give_the_same_tables(cells, study, monkeypatch):
  monkeypatch.setattr(significance, "_EXCHANGES", 1024)
  again = collect(settings(), cells, {})
  assert json.dumps(again) == json.dumps(study)
  assert to_markdown(again) == to_markdown(study)


def test_relations_are_of_the_same_numbers(cells, study):
  (row,) = (
    row
    for row in study["comparisons"]
    if (row["slm"], row["measure"], row["a"], row["b"])
    == ("other", "wer", "encodecq_vocos", "dac")
  )
  means = [study["generation"]["other"][row[name]]["wer"]["mean"] for name in "ab"]
  assert row["value"] == pytest.approx(means[0] - means[1])
  assert row["p_holm"] >= row["p_permutation"]
  codecs = study["codecs"]
  assert (codecs["dac"]["quantizer"], codecs["dac"]["decoder"]) == ("factorized", "dac")
  (found,) = (
    row["pearson"]
    for row in study["correlations"]
    if (row["slm"], row["generation"]) == ("maskgit", "wer")
  )
  x_M = [study["reconstruction"][name]["pesq_wb"]["mean"] for name in codecs]
  y_M = [-study["generation"]["maskgit"][name]["wer"]["mean"] for name in codecs]
  assert found["value"] == pytest.approx(np.corrcoef(x_M, y_M)[0, 1])
  names = {(row["slm"], row["measure"]) for row in study["attribution"]}
  generated = ("wer", "speaker_similarity", "dnsmos_ovrl")
  of_slms = {(slm, measure) for slm in ("maskgit", "other") for measure in generated}
  assert names == {(None, "pesq_wb")} | of_slms
  assert [f["number"] for f in study["findings"]] == [1, 2, 3, 4, 5]
  assert set(study["tokens"]) == set(codecs)


def test_the_markdown_names_everything(study):
  text = to_markdown(study)
  for finding in study["findings"]:
    assert finding["claim"] in text and finding["rule"] in text
  for codec, measures in study["generation"]["maskgit"].items():
    low, high = measures["wer"]["ci95"]
    expected = f"{measures['wer']['mean']:.3f} ({low:.3f} to {high:.3f})"
    assert codec in text and expected in text
  assert "All generations ended by themselves." in text
  assert "by themselves: encodecq_vocos 1 cut, 0 of no sound; encodecq_dac" in text
  assert "Originals" in text and "semantic_information_bits" in text


def test_cells_that_are_not_done_are_named_and_left_out(tmp_path):
  cells = plan(tmp_path, slms={"maskgit": "configs/a.py"}, codecs=["dac", "dacq_vocos"])
  with pytest.raises(StudyError, match="no cell with a language model is done"):
    collect(settings(), cells, {})
  write_cells(cells[:-1])
  status = {
    "dacq_vocos-maskgit-s0": {"state": "failed", "reason": "error: no", "seconds": 1}
  }
  study = collect(settings(slms={"maskgit": "configs/a.py"}), cells, status)
  assert study["cells"]["dacq_vocos-maskgit-s0"]["reason"] == "error: no"
  assert list(study["generation"]["maskgit"]) == ["dac"]
  assert {f["verdict"] for f in study["findings"]} == {"undecided"}
  assert "error: no" in to_markdown(study)
  without = collect(settings(slms={"maskgit": "configs/a.py"}), cells, {})
  assert without["cells"]["dacq_vocos-maskgit-s0"]["state"] == "missing"


def test_seeds_are_pooled_by_utterance(tmp_path):
  slms = {"maskgit": "configs/a.py"}
  cells = plan(tmp_path, slms=slms, codecs=["dac"], seeds=[0, 1])
  write_cells(cells)
  found = collect(settings(slms=slms), cells, {})["generation"]["maskgit"]["dac"]["wer"]
  results = {seed: _results(cells, f"dac-maskgit-s{seed}") for seed in (0, 1)}
  rows = [r for one in results.values() for r in one["utterances"]
          if r["set"] == "generation"]  # fmt: skip
  errors = sum(r["wer"] * r["wer_weight"] for r in rows)
  words = sum(r["wer_weight"] for r in rows)
  assert found["mean"] == pytest.approx(errors / words)
  assert found["n"] == 20 and found["ci95"][0] < found["mean"] < found["ci95"][1]
  assert found["seeds"] == {
    str(seed): one["generation"]["wer"]["mean"] for seed, one in results.items()
  }
  pooled = align([measurement(results, "generation", "wer")])
  assert len(pooled.ids) == 10 and pooled.bottom_UxM.sum() == words


def test_seeds_that_not_all_systems_have_are_left_out(tmp_path):
  slms, codecs = {"maskgit": "configs/a.py"}, ["dac", "dacq_vocos"]
  changes = dict(slms=slms, codecs=codecs, seeds=[0, 1])
  cells = plan(tmp_path, **changes)
  missing = "dacq_vocos-maskgit-s1"
  write_cells([cell for cell in cells if cell.name != missing])
  study = collect(settings(**changes), cells, {})
  assert study["seeds"] == [0] and study["seeds_of_some"] == [1]
  first = _results(cells, "dac-maskgit-s0")["generation"]["wer"]
  assert study["generation"]["maskgit"]["dac"]["wer"]["mean"] == first["mean"]
  assert "Seeds that not all systems have: 1." in to_markdown(study)
  write_cells([cell for cell in cells if cell.name == missing])
  shutil.rmtree(tmp_path / "cells" / "dacq_vocos-maskgit-s0")
  shutil.rmtree(tmp_path / "cells" / "dac-maskgit-s1")
  with pytest.raises(StudyError, match=r"codecs: no seed is .*: dac \[0\]; dacq_vocos"):
    collect(settings(**changes), cells, {})


def test_originals_are_each_language_models_own(tmp_path):
  """Prompts differ between language models; a plot has a line for each."""
  slms = {"maskgit": "configs/a.py", "other": "configs/b.py"}
  changes = dict(slms=slms, codecs=["dac"])
  cells = plan(tmp_path, **changes)
  write_cells(cells)
  path = tmp_path / "cells" / "dac-other-s0" / "evaluate" / "results.json"
  results = read_results(path)
  results["ground_truth"]["wer"]["mean"] = 0.875
  write_results(path, results)
  stages.forget(path.parents[1], "evaluate")
  stages.run_stage(path.parents[1], "evaluate", {}, lambda f: ["results.json"])
  study = collect(settings(**changes), cells, {})
  rows = csv.DictReader(io.StringIO(to_csv(study)))
  means = {
    row["slm"]: float(row["mean"])
    for row in rows
    if row["set"] == "ground_truth" and row["measure"] == "wer"
  }
  own = _results(cells, "dac-maskgit-s0")["ground_truth"]["wer"]["mean"]
  assert means == {"maskgit": pytest.approx(own), "other": 0.875}
  _, axes = plt.subplots()
  draw_intervals(axes, study["generation"], "wer", means)
  lines = {
    line.get_label(): line.get_xdata()[0]
    for line in axes.get_lines()
    if line.get_label().startswith("originals")
  }
  assert lines == {"originals, maskgit": means["maskgit"], "originals, other": 0.875}


def test_another_codecs_rows_say_whose_rate_they_follow(tmp_path):
  changes = dict(slms={"maskgit": "configs/a.py"}, codecs=["dac", "dacq_vocos"])
  cells = plan(tmp_path, **changes)
  write_cells(cells)
  for cell, mean in ((cell, mean) for mean, cell in enumerate(cells) if cell.slm):
    path = cell.workdir / "evaluate" / "results.json"
    results = read_results(path)
    results["opus"] = {"pesq_wb": {"mean": 1.0 + mean, "ci95": [1, 9], "n": 10,
                                   "n_failed": 0}}  # fmt: skip
    write_results(path, results)
    stages.forget(cell.workdir, "evaluate")
    stages.run_stage(cell.workdir, "evaluate", {}, lambda f: ["results.json"])
  study = collect(settings(**changes), cells, {})
  assert study["reference_of"] == {"opus": "dac"}
  assert "(as dac)" in to_markdown(study)


def test_both_designs_are_judged_each_by_its_own_systems(tmp_path):
  changes = dict(
    slms={"maskgit": "configs/a.py"},
    codecs=["dacq_vocos", "encodecq_vocos"],
    design="both",
    frozen={"tokens": ["dacq_vocos", "encodecq_vocos"], "decoders": ["vocos", "dac"]},
  )
  cells = plan(tmp_path, **changes)
  write_cells(cells)
  study = collect(settings(**changes), cells, {})
  assert study["design"] == "joint" and list(study["codecs"]) == changes["codecs"]
  frozen = study["other_designs"]["frozen"]
  parts = {(c["quantizer"], c["decoder"]) for c in frozen["codecs"].values()}
  grid = {(q, d) for q in ("factorized", "ema") for d in ("vocos", "dac")}
  assert parts == grid
  assert set(study["tokens"]) == set(changes["codecs"])
  found = _results(cells, "dacq_vocos+dac-maskgit-s0")["generation"]["wer"]["mean"]
  assert frozen["generation"]["maskgit"]["dacq_vocos+dac"]["wer"]["mean"] == found
  assert [f["number"] for f in frozen["findings"]] == [1, 2, 3, 4, 5]
  text = to_markdown(study)
  assert "Design: joint" in text and "every decoder speaks the same codes" in text
  assert text.count("| dacq_vocos+dac") >= 2
  systems = {row["system"] for row in csv.DictReader(io.StringIO(to_csv(study)))}
  assert {"dacq_vocos", "dacq_vocos+dac"} <= systems

  alone = changes | {"design": "frozen"}
  study = collect(settings(**alone), plan(tmp_path, **alone), {})
  assert study["design"] == "frozen" and len(study["codecs"]) == 4
  assert study["other_designs"] == {}


def test_cells_of_other_settings_are_refused(tmp_path):
  slms = {"maskgit": "configs/a.py"}
  cells = plan(tmp_path, slms=slms, codecs=["dac", "dacq_vocos"])
  write_cells(cells[:2])
  write_cells(cells[2:], config={"codec_train": CODEC_TRAIN | {"steps": 5}})
  with pytest.raises(
    StudyError, match="codec_train.steps: 3 in dac-.*; 5 in dacq_vocos"
  ):
    collect(settings(slms=slms), cells, {})


def test_a_codec_without_codebooks_is_a_system_like_others(tmp_path):
  slms = {"maskgit": "configs/a.py"}
  cells = plan(tmp_path, slms=slms, codecs=["dac", "dacq_vocos"])
  codec = presets.preset("dacq_vocos")
  codec["quantizer"] = {"name": "fsq", "num_codebooks": 2, "levels": [4, 4]}
  write_cells(cells[:2])
  write_cells(cells[2:], config={"codec": codec})
  found = collect(settings(slms=slms), cells, {}, with_defaults)
  assert found["codecs"]["dacq_vocos"]["quantizer"] == "fsq_2"
  assert any("quantizer.dropout: 0.5" in line for line in found["differences"]["codec"])
  assert "Unequal conditions: codecs differ in codec.quantizer.dr" in to_markdown(found)
  assert "fsq" in json.dumps(found) and to_markdown(found)


def test_cells_of_other_recordings_are_refused(tmp_path):
  cells = plan(tmp_path, slms={"maskgit": "configs/a.py"}, codecs=["dac", "baseline"])
  write_cells(cells)
  for cell, fingerprint in zip(
    [cell for cell in cells if cell.last == "evaluate"], ("a1", "b2"), strict=True
  ):
    file = cell.workdir / "evaluate" / "results.json"
    results = json.loads(file.read_text()) | {"data_fingerprint": fingerprint}
    stages.run_stage(
      cell.workdir, "evaluate", {"of": fingerprint}, lambda f, r=results: _write(f, r)
    )
  with pytest.raises(StudyError, match="recordings, .* a1 in dac-.*; b2 in baseline-"):
    collect(settings(slms={"maskgit": "configs/a.py"}), cells, {}, with_defaults)


def _write(folder, results):
  (folder / "results.json").write_text(json.dumps(results))
  return ["results.json"]


def test_rows_without_their_weights_are_refused(cells):
  results = _results(cells, "dac-maskgit-s0")
  for row in results["utterances"]:
    row.pop("wer_weight", None)
  with pytest.raises(StudyError, match="evaluate it again"):
    measurement({0: results}, "generation", "wer")
