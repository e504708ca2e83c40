"""Bootstrap and jackknife intervals, against closed forms and by their coverage."""

import numpy as np
import pytest
from scipy import stats

from jaxcodec.stats import means


def test_interval_matches_students_t():
  values = np.random.default_rng(0).normal(3.0, 2.0, 400)
  low, high = means.estimate(values)["ci95"]
  expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
  np.testing.assert_allclose([low, high], expected, atol=0.02)


@pytest.mark.parametrize("n", [8, 30])
def test_coverage_of_the_true_mean(n, monkeypatch):
  monkeypatch.setattr(means, "RESAMPLES", 1000)
  rng = np.random.default_rng(1)
  hits = 0
  for _ in range(600):
    low, high = means.estimate(rng.normal(1.0, 1.0, n))["ci95"]
    hits += low <= 1.0 <= high
  # 600 draws of a 95% event: two-sided 99.9% band.
  band = stats.binom.interval(0.999, 600, 0.95)
  assert band[0] <= hits <= band[1]


def test_weighted_mean_is_the_corpus_rate():
  errors, words = np.array([1, 0, 6]), np.array([10, 4, 6])
  found = means.estimate(errors / words, words)
  assert found["mean"] == pytest.approx(7 / 20)
  assert found["ci95"][0] <= found["mean"] <= found["ci95"][1]


def test_same_values_give_the_same_interval_and_chunks_do_not_matter(monkeypatch):
  values = np.random.default_rng(2).random(50)
  first = means.estimate(values)
  monkeypatch.setattr(means, "_CHUNK", 700)
  assert means.estimate(values) == first


def test_too_few_values_have_no_interval():
  assert means.estimate(np.array([]))["mean"] is None
  assert means.estimate(np.array([2.0])) == {"mean": 2.0, "ci95": [None, None]}


def test_jackknife_of_a_mean_is_the_normal_interval():
  values = np.random.default_rng(3).normal(0, 1, 60)
  left_out = (values.sum() - values) / 59
  found = means.jackknife(values.mean(), left_out, upper=np.inf)
  half = stats.norm.ppf(0.975) * stats.sem(values)
  expected = [values.mean() - half, values.mean() + half]
  np.testing.assert_allclose(found["ci95"], expected, rtol=1e-9)
