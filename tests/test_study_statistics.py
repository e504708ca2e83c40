"""Intervals, tests and attribution against scipy, closed forms and their coverage."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxcodec.stats import means
from jaxcodec.stats.anova import attribution
from jaxcodec.stats.bootstrap import (
  Aligned,
  correlation,
  difference,
  fisher_interval,
  interval,
  resampled_correlations,
  statistic,
)
from jaxcodec.stats.significance import compare, holm, permutation_p


def _aligned(top_UxM, bottom_UxM=None):
  top_UxM = np.asarray(top_UxM, float)
  ones = np.ones_like(top_UxM) if bottom_UxM is None else bottom_UxM
  return Aligned(tuple(map(str, range(len(top_UxM)))), top_UxM, np.asarray(ones, float))


def _rates(rng, utterances=120, systems=2):
  words_U = rng.integers(3, 20, utterances)
  errors = rng.binomial(words_U[:, None], np.linspace(0.1, 0.3, systems))
  return _aligned(errors, np.repeat(words_U[:, None], systems, axis=1))


def test_a_difference_of_means_has_the_paired_t_interval():
  rng = np.random.default_rng(0)
  common_U = rng.normal(3, 2, 400)  # what both systems find hard
  values = common_U[:, None] + rng.normal([0.2, 0.0], 0.3, (400, 2))
  found = difference(_aligned(values), 0, 1)
  change = values[:, 0] - values[:, 1]
  expected = stats.t.interval(0.95, 399, change.mean(), stats.sem(change))
  assert found["value"] == pytest.approx(change.mean())
  np.testing.assert_allclose(found["ci95"], expected, atol=0.003)


def _of_seeds(values_SxUxM):
  ones = np.ones_like(values_SxUxM)
  by_seed = tuple(zip(values_SxUxM, ones, strict=True))
  whole = _aligned(values_SxUxM.sum(0), ones.sum(0))
  return whole._replace(by_seed=by_seed)


def test_seeds_have_the_interval_of_students_t():
  """What only the seed changes, and by how much more for two systems' difference."""
  of_seed = np.array([[1.0, 0.0], [2.0, 0.5], [4.0, 3.0]])
  values = np.broadcast_to(of_seed[:, None], (3, 20, 2))
  replicates = _of_seeds(values).resampled()
  for found, by_seed in (
    (replicates[:, 0], of_seed[:, 0]),
    (replicates[:, 0] - replicates[:, 1], of_seed[:, 0] - of_seed[:, 1]),
  ):
    for level in (0.5, 0.9):
      wanted = stats.t.interval(level, 2, by_seed.mean(), stats.sem(by_seed))
      ends = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
      np.testing.assert_allclose(ends, wanted, atol=0.1 * np.ptp(wanted))


def test_intervals_of_three_seeds_cover_as_often_as_they_say():
  rng, covered = np.random.default_rng(0), 0
  for _ in range(200):
    of_seed = rng.normal(size=3)
    values = of_seed[:, None, None] + 0.1 * rng.normal(size=(3, 30, 1))
    low, high = interval(_of_seeds(values).resampled()[:, 0], 30)
    covered += low <= 0 <= high
  assert 0.92 <= covered / 200 <= 0.99


def test_seeds_that_agree_add_nothing_to_the_interval():
  values = np.random.default_rng(0).normal(size=(30, 2))
  together = _of_seeds(np.stack([values, values]))
  np.testing.assert_allclose(together.resampled(), _aligned(values).resampled())
  picked = together.columns(1).rows([3, 4]).scaled(-1.0)
  assert picked.ids == ("3", "4") and len(picked.by_seed) == 2
  np.testing.assert_allclose(picked.means(), -values[3:5, 1:].mean(0))
  np.testing.assert_allclose(picked.by_seed[0][0], -values[3:5, 1:])


def test_corpus_rates_agree_with_scipys_bootstrap_and_with_results_json():
  aligned = _rates(np.random.default_rng(1))
  errors_U, words_U = aligned.top_UxM[:, 0], aligned.bottom_UxM[:, 0]
  found = statistic(aligned, lambda m: m[..., 0])
  assert found["value"] == pytest.approx(errors_U.sum() / words_U.sum())
  theirs = stats.bootstrap(
    (errors_U, words_U),
    lambda e, w, axis: e.sum(axis=axis) / w.sum(axis=axis),
    paired=True,
    method="percentile",
    n_resamples=4000,
    confidence_level=1 - 2 * means.expanded_tail(120, 0.95),
    rng=np.random.default_rng(5),
  ).confidence_interval
  np.testing.assert_allclose(found["ci95"], theirs, atol=0.003)
  ours = means.estimate(errors_U / words_U, words_U)
  np.testing.assert_allclose(found["ci95"], ours["ci95"], rtol=1e-9)


def test_a_difference_of_rates_covers_the_true_one(monkeypatch):
  monkeypatch.setattr(means, "RESAMPLES", 800)
  rng = np.random.default_rng(2)
  hits = 0
  for _ in range(300):
    low, high = difference(_rates(rng, 30), 0, 1)["ci95"]
    hits += low <= 0.1 - 0.3 <= high
  # The 99.9% band of 300 draws of a 95% event.
  band = stats.binom.interval(0.999, 300, 0.95)
  assert band[0] <= hits <= band[1]


def test_the_same_numbers_give_the_same_interval():
  aligned = _rates(np.random.default_rng(3))
  assert difference(aligned, 0, 1) == difference(aligned, 0, 1)


def test_too_little_has_no_interval():
  assert interval(np.array([0.1, 0.2]), 1) == [None, None]
  assert interval(np.array([0.1, np.nan, np.nan]), 5) == [None, None]


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_correlations_against_scipy(kind):
  rng = np.random.default_rng(4)
  x_M = rng.normal(size=40)
  y_M = 0.6 * x_M + 0.8 * rng.normal(size=40)
  found = correlation(x_M, y_M, kind)
  theirs = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[kind](x_M, y_M)
  assert found["value"] == pytest.approx(theirs.statistic)
  assert found["p"] == pytest.approx(theirs.pvalue, abs=3e-3)
  if kind == "pearson":
    expected = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(found["fisher95"], expected, rtol=1e-9)
  boot = stats.bootstrap(
    (x_M, y_M),
    lambda x, y: getattr(stats, f"{kind}r")(x, y).statistic,
    vectorized=False,
    paired=True,
    method="percentile",
    n_resamples=1000,
    confidence_level=1 - 2 * means.expanded_tail(40, 0.95),
    rng=np.random.default_rng(6),
  ).confidence_interval
  np.testing.assert_allclose(found["ci95"], boot, atol=0.06)


def test_few_systems_are_tested_exactly():
  x_M, y_M = np.array([1.0, 2.0, 4.0, 9.0]), np.array([2.0, 1.0, 5.0, 7.0])
  value = np.corrcoef(x_M, y_M)[0, 1]
  others = [np.corrcoef(x_M, p)[0, 1] for p in itertools.permutations(y_M)]
  both = 2 * min(np.mean(np.array(others) >= value - 1e-9), 0.5)
  assert correlation(x_M, y_M, "pearson")["p"] == pytest.approx(both)
  assert correlation(x_M, np.ones(4), "pearson")["value"] is None
  assert correlation(x_M[:2], y_M[:2], "pearson")["value"] is None
  assert fisher_interval(0.5, 3, "pearson") == [None, None]
  assert fisher_interval(1.0, 5, "spearman") == [None, None]


def test_resamples_without_spread_have_no_correlation():
  replicates = resampled_correlations(np.arange(3.0), np.ones((3, 1)), "pearson")
  assert np.isnan(replicates).all()


def test_permutations_of_few_utterances_are_all_tried():
  change = np.array([0.5, 1.0, -0.25, 2.0, 0.75])
  pair = _aligned(np.column_stack([change, np.zeros(5)]))
  signs = np.array(list(itertools.product([1, -1], repeat=5)))
  sums = signs @ change
  upper = np.mean(sums >= change.sum() - 1e-9)
  assert permutation_p(pair) == pytest.approx(2 * upper)


def test_one_utterance_decides_nothing():
  found = compare(_aligned([[3.0, 1.0]]), 0, 1)
  assert found["value"] == 2.0 and found["ci95"] == [None, None]
  assert found["p_permutation"] == 1.0 and found["p_wilcoxon"] > 0.3


def test_tests_on_many_utterances_agree_with_students_and_wilcoxons():
  rng = np.random.default_rng(7)
  values = rng.normal([0.25, 0.0], 1.0, (80, 2))
  found = compare(_aligned(values), 0, 1)
  expected = stats.ttest_rel(values[:, 0], values[:, 1]).pvalue
  assert found["p_permutation"] == pytest.approx(expected, abs=0.015)
  exact = stats.wilcoxon(values[:, 0], values[:, 1], method="exact").pvalue
  assert found["p_wilcoxon"] == pytest.approx(exact, abs=2e-3)


def test_equal_systems_do_not_differ():
  found = compare(_aligned(np.ones((6, 2))), 0, 1)
  assert (found["p_permutation"], found["p_wilcoxon"], found["value"]) == (1, 1, 0)


def test_other_weights_are_refused():
  with pytest.raises(ValueError, match="weights differ"):
    permutation_p(_aligned(np.ones((3, 2)), [[1, 1], [1, 2], [1, 1]]))


def test_holm_of_a_textbook_example():
  # 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04, none below the one before.
  assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
  assert holm([0.9, 0.8]) == [1.0, 1.0]


QUANTIZERS = ("ema", "ema", "ema", "ema", "fac", "fac", "fac")
DECODERS = ("sea", "lstm", "vocos", "dac", "sea", "vocos", "dac")


def _dummies(names):
  return np.column_stack([[float(n == k) for n in names] for k in sorted(set(names))])


def _rss(y_M, *designs):
  x = np.column_stack([np.ones(len(y_M)), *designs])
  return float(np.square(y_M - x @ np.linalg.lstsq(x, y_M)[0]).sum())


def test_attribution_of_the_unbalanced_grid_is_type_two():
  rng = np.random.default_rng(8)
  values = rng.normal(rng.normal(size=7), 0.1, (20, 7))
  aligned = _aligned(values)
  found = attribution(aligned, QUANTIZERS, DECODERS)
  y_M, q, d = aligned.means(), _dummies(QUANTIZERS), _dummies(DECODERS)
  both = _rss(y_M, q, d)
  assert found["quantizer"]["ss"] == pytest.approx(_rss(y_M, d) - both)
  assert found["decoder"]["ss"] == pytest.approx(_rss(y_M, q) - both)
  assert found["residual"] == {"ss": pytest.approx(both), "df": 2}
  assert found["total"]["ss"] == pytest.approx(7 * y_M.var())
  assert (found["quantizer"]["df"], found["decoder"]["df"]) == (1, 3)
  f = (_rss(y_M, d) - both) / (both / 2)
  assert found["quantizer"]["f"] == pytest.approx(f)
  assert found["quantizer"]["p"] == pytest.approx(stats.f.sf(f, 1, 2))


def test_attribution_of_a_balanced_grid_adds_up():
  values = np.random.default_rng(9).normal(size=(10, 4))
  found = attribution(_aligned(values), ["a", "a", "b", "b"], ["c", "d", "c", "d"])
  parts = [found[name]["ss"] for name in ("quantizer", "decoder", "residual")]
  assert sum(parts) == pytest.approx(found["total"]["ss"])


def test_components_of_a_balanced_grid_are_the_levels_variances():
  """Whatever the numbers of levels, and free of what noise adds on average."""
  rng = np.random.default_rng(3)
  q, d = np.array([0.0, 1.0]), np.array([0.0, 0.5, 2.0, 1.0])
  names = [(f"q{i}", f"d{j}") for i in range(2) for j in range(4)]
  effect = np.array([q[i] + d[j] for i in range(2) for j in range(4)])
  quantizers, decoders = zip(*names, strict=True)
  exact = q.var(ddof=1) - d.var(ddof=1)
  values = np.tile(effect, (20, 1)) + rng.normal(0, 1, (20, 1))  # alike in all systems
  found = attribution(_aligned(values), quantizers, decoders)
  assert found["quantizer_less_decoder"]["value"] == pytest.approx(exact, abs=1e-9)
  trials = [
    attribution(_aligned(effect + rng.normal(0, 2, (20, 8))), quantizers, decoders)
    for _ in range(60)
  ]
  values = [trial["quantizer_less_decoder"]["value"] for trial in trials]
  assert np.mean(values) == pytest.approx(exact, abs=3 * np.std(values) / 60**0.5)


def test_the_chance_of_a_training_favours_no_part():
  """Neither in a grid of more tokens than decoders nor in one of the paper's shape."""
  rng = np.random.default_rng(5)
  grids = (
    ([*"aabbccdd"], [*"vd" * 4]),
    ([*"eeeeefff"], [*"slnvd"] + [*"svd"]),
  )
  for quantizers, decoders in grids:
    found = []
    for _ in range(300):
      of_training = rng.normal(0, 1, (1, 8)).repeat(5, axis=0)
      contrast = attribution(_aligned(of_training), quantizers, decoders)
      found.append(contrast["quantizer_less_decoder"]["value"])
    assert np.mean(found) == pytest.approx(0, abs=3 * np.std(found) / 300**0.5)


def test_noise_that_decoders_of_one_generation_share_is_not_a_difference_of_tokens():
  rng = np.random.default_rng(4)
  quantizers = ["a"] * 4 + ["b"] * 4
  covered = 0
  for _ in range(40):
    shared = rng.normal(0, 1, (30, 2)).repeat(4, axis=1)
    values = shared + rng.normal(0, 0.05, (30, 8))
    found = attribution(_aligned(values), quantizers, [*"cdef"] * 2)
    low, high = found["quantizer_less_decoder"]["ci95"]
    covered += low <= 0 <= high
  assert covered >= 36


def test_attribution_tells_which_factor_matters():
  rng = np.random.default_rng(10)
  effect = np.array([0.0 if name == "ema" else 1.0 for name in QUANTIZERS])
  values = effect + rng.normal(0, 0.2, (40, 7))
  contrast = attribution(_aligned(values), QUANTIZERS, DECODERS)[
    "quantizer_less_decoder"
  ]
  assert contrast["ci95"][0] > 0
  one = attribution(_aligned(values[:, :4]), QUANTIZERS[:4], DECODERS[:4])
  assert one["quantizer"]["df"] == 0 and one["quantizer"]["ms"] is None
  assert one["quantizer_less_decoder"]["ci95"] == [None, None]
