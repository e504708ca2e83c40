"""Held-out metrics are weighted means."""

import functools

import numpy as np
from clu import metrics

from jaxcodec.train import held_out


def merged(*results):
  collections = map(held_out.collect, results)
  return functools.reduce(metrics.Collection.merge, collections).compute()


def batch(weight, loss, usage):
  return {
    "loss": np.float32(loss),
    "usage": np.array(usage, np.float32),
    "weight": np.float32(weight),
  }


def test_scalars_and_vectors_are_weighted_means():
  found = merged(batch(8, 1, [1, 0]), batch(16, 4, [0.25, 1]), batch(0, 9, [9, 9]))
  assert list(found) == ["loss", "usage"]
  assert found["loss"] == (8 * 1 + 16 * 4) / 24 and np.ndim(found["loss"]) == 0
  np.testing.assert_allclose(found["usage"], [(8 + 4) / 24, 16 / 24], rtol=1e-7)


def test_the_figures_are_those_of_plain_float32_sums():
  """Compares the bits with sums in the order of the batches."""
  rng = np.random.default_rng(0)
  results = [batch(rng.integers(1, 99), rng.random(), rng.random(3)) for _ in range(9)]
  found, total = merged(*results), np.sum([r["weight"] for r in results])
  for name in ("loss", "usage"):
    expected = sum(r["weight"] * r[name] for r in results) / total
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], expected)


def test_nothing_is_empty():
  mean = held_out.WeightedMean.from_model_output(np.float32(3), np.float32(2))
  assert held_out.WeightedMean.empty().merge(mean).compute() == 3
