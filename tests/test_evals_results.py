"""Results: failures are counted, absent packages named, the file is strict JSON."""

import json
import math

import numpy as np
import pytest
from evals_helpers import METRICS, SPEC, clip

from jaxcodec.evals import results
from jaxcodec.evals.evaluate import evaluate, ground_truth, load_metrics
from jaxcodec.evals.metric import Metric, MetricFailed, Score
from jaxcodec.evals.models import choose, speaker
from jaxcodec.evals.registry import make_metrics
from jaxcodec.evals.results import build_results, write_results
from jaxcodec.report.format import format_table

EVAL = 'pip install "jaxcodec[eval]"'


class Scripted(Metric):
  """A metric that returns or raises what it was given for each utterance."""

  name, measures, packages = "scripted", "A test.", ("no-such-package>=1",)

  def __init__(self, script):
    self.script = iter(script)

  def score(self, clip):
    value = next(self.script)
    if isinstance(value, Exception):
      raise value
    return Score(value)


def build(evaluation, metrics, **changes):
  fields = {"token_spec": SPEC, "config": {"seed": 0}, "models": {}, "absent": {}}
  return build_results({"reconstruction": evaluation}, metrics, **(fields | changes))


def test_failures_are_counted_with_their_reason_and_left_out_of_the_mean():
  script = [1.0, MetricFailed("too short"), math.nan, math.inf, ValueError("odd"), 3.0]
  found = evaluate([clip(k) for k in range(6)], [Scripted(script)])
  summary = found.summary["scripted"]
  assert (summary["mean"], summary["n"], summary["n_failed"]) == (2.0, 2, 4)
  values = [row["scripted"] for row in found.rows]
  assert values == [1.0, None, None, None, None, 3.0]
  reasons = [row["failed"].get("scripted") for row in found.rows]
  assert reasons == [
    None, "too short", "not a finite number: nan", "not a finite number: inf",
    "ValueError: odd", None,
  ]  # fmt: skip


def test_an_item_that_failed_has_no_value_of_any_metric():
  clips = [clip(0, failed="cut at 9 frames"), clip(1), clip(2, audio=np.zeros(0))]
  metric = Scripted([1.0, 2.0])
  found = evaluate(clips, [metric])
  assert found.rows[0]["failed"] == {"scripted": "cut at 9 frames"}
  assert (found.rows[0]["scripted"], found.rows[2]["seconds"]) == (None, 0.0)
  assert (found.summary["scripted"]["n"], found.summary["scripted"]["mean"]) == (2, 1.5)
  assert ground_truth(clips)[0].failed is None


def test_all_failed_is_null_not_zero():
  found = evaluate([clip()], [Scripted([math.nan])])
  assert found.summary["scripted"] == {
    "mean": None, "ci95": [None, None], "n": 0, "n_failed": 1
  }  # fmt: skip
  json.loads(results.to_json(build(found, [Scripted([])])))


@pytest.mark.parametrize(
  ("name", "line"),
  [
    ("pesq_wb", EVAL),
    ("stoi", EVAL),
    ("dnsmos_ovrl", EVAL),
    ("speaker_similarity", EVAL),
    ("distillmos", 'pip install "jaxcodec[mos]" torch'),
    ("wer", EVAL),
  ],
)
def test_an_absent_package_is_reported_with_its_install_line(name, line, monkeypatch):
  def missing(module, *args):
    raise ImportError(module)

  metrics = make_metrics([name, "si_sdr"])
  monkeypatch.setattr("importlib.import_module", missing)
  speaker.load_speaker.cache_clear()
  loaded = load_metrics(metrics)
  assert [m.name for m in loaded.metrics] == ["si_sdr"]
  assert loaded.absent[name].startswith(line)


def test_a_package_without_its_weights_is_absent(monkeypatch):
  monkeypatch.setattr(choose.importlib.util, "find_spec", lambda name: None)
  loaded = load_metrics(make_metrics(["dnsmos_ovrl"]))
  assert set(loaded.absent) == {"dnsmos_ovrl"}


def test_layout_that_other_programs_rely_on(tmp_path):
  metrics = make_metrics(METRICS, spec=SPEC)
  clips = [clip(k) for k in range(3)]
  found = evaluate(clips, load_metrics(metrics).metrics)
  written = build(found, metrics, absent={"distillmos": "pip install distillmos"})
  write_results(tmp_path / "results.json", written)
  read = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
  assert list(read) == [
    "reconstruction", "generation", "ground_truth", "token_spec", "metrics", "absent",
    "versions", "models", "config", "utterances",
  ]  # fmt: skip
  assert list(read["reconstruction"]) == list(METRICS)
  for measure in read["reconstruction"].values():
    assert {"mean", "ci95", "n", "n_failed"} <= set(measure)
    low, high = measure["ci95"]
    assert low <= measure["mean"] <= high
  assert read["token_spec"]["bitrate"] == SPEC.bitrate
  assert [u["id"] for u in read["utterances"]] == ["utt-0", "utt-1", "utt-2"]
  stoi = [u["stoi"] for u in read["utterances"]]
  assert read["reconstruction"]["stoi"]["mean"] == pytest.approx(np.mean(stoi))
  assert read["versions"]["pesq"]


def test_nan_is_refused_and_the_old_file_stays(tmp_path):
  path = tmp_path / "results.json"
  write_results(path, {"a": np.float32(1.5), "b": np.arange(2)})
  with pytest.raises(ValueError, match="not JSON compliant"):
    write_results(path, {"a": math.nan})
  assert json.loads(path.read_text()) == {"a": 1.5, "b": [0, 1]}
  assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_same_inputs_give_the_same_bytes():
  def text():
    metrics = load_metrics(make_metrics(METRICS, spec=SPEC)).metrics
    return results.to_json(build(evaluate([clip(0), clip(1)], metrics), metrics))

  assert text() == text()


def test_the_originals_are_their_own_ceiling():
  (metric,) = load_metrics(make_metrics(["stoi"])).metrics
  clips = ground_truth([clip(0), clip(1, reference=None)])
  assert [i.id for i in clips] == ["utt-0"]
  assert metric.score(clips[0]).value == pytest.approx(1.0, abs=1e-4)


def test_progress_and_no_items():
  seen = []
  evaluate([clip(0), clip(1)], [], progress=lambda *done: seen.append(done))
  assert seen == [(1, 2), (2, 2)]
  with pytest.raises(ValueError, match="no utterances"):
    evaluate([], [])


def test_table_is_aligned_and_shows_absences():
  metrics = [Scripted([])]
  found = evaluate([clip(k) for k in range(2)], [Scripted([0.25, 150.0])])
  text = format_table(build(found, metrics, absent={"wer": "pip install x"}))
  lines = [line for line in text.splitlines() if line.startswith("|")]
  assert len({len(line) for line in lines}) == 1
  assert lines[2].split() == "| scripted | 75.125 | 0.250 to 150.0 | 2 | 0 |".split()
  assert "- wer: pip install x" in text
