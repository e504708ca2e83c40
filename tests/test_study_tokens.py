"""Token statistics against known sources and a slow model of the same definition."""

import collections

import numpy as np
import pytest

from jaxcodec.data.source import DataError
from jaxcodec.data.token_store import write_tokens
from jaxcodec.stats.ngram_entropy import held_out_bits, ngrams
from jaxcodec.study import token_stats
from jaxcodec.study.token_stats import MEASURES, Records, read_records, token_statistics


def _bits(train, held_out, size, order):
  return held_out_bits(ngrams(train, size, order), ngrams(held_out, size, order), size)


def _slow_bits(train, held_out, size, order):
  """Computes Witten and Bell's model with dictionaries, one symbol at a time."""
  follow = collections.defaultdict(collections.Counter)
  for sequence in train:
    padded = [size] * (order - 1) + list(sequence)
    for t in range(order - 1, len(padded)):
      for back in range(order):
        follow[tuple(padded[t - back : t])][padded[t]] += 1

  def probability(history, symbol):
    shorter = probability(history[1:], symbol) if history else 1 / size
    counts = follow[history]
    if not counts:
      return shorter
    return (counts[symbol] + len(counts) * shorter) / (counts.total() + len(counts))

  logs = []
  for sequence in held_out:
    padded = [size] * (order - 1) + list(sequence)
    for t in range(order - 1, len(padded)):
      logs.append(np.log2(probability(tuple(padded[t - order + 1 : t]), padded[t])))
  return -np.mean(logs)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_ngram_model_is_witten_and_bells(order):
  rng = np.random.default_rng(0)
  train, held_out = (
    [rng.integers(0, 4, length) ** 2 % 5 for length in lengths]
    for lengths in ((30, 1, 12), (9, 2, 20))
  )
  expected = _slow_bits(train, held_out, 5, order)
  assert _bits(train, held_out, 5, order) == pytest.approx(expected, rel=1e-12)


def test_independent_codes_have_their_entropy_and_no_context_helps():
  rng = np.random.default_rng(1)
  shares = np.array([0.5, 0.25, 0.125, 0.125])
  train, held_out = ([rng.choice(4, n, p=shares)] for n in (40_000, 20_000))
  for order in (1, 2):
    assert _bits(train, held_out, 4, order) == pytest.approx(1.75, abs=0.02)


def test_a_cycle_is_predicted_by_the_code_before():
  cycle = [np.arange(4000) % 7]
  assert _bits(cycle, cycle, 7, 1) == pytest.approx(np.log2(7), abs=0.01)
  assert _bits(cycle, cycle, 7, 2) < 0.02


def _records(rng, count, frames=400):
  """Makes records: codebook 0 is the semantic token with 30% noise, 1 only noise."""
  codes, semantic = [], []
  for _ in range(count):
    semantic_T = rng.integers(0, 8, frames)
    noisy_T = np.where(rng.random(frames) < 0.3, rng.integers(0, 8, frames), semantic_T)
    codes.append(np.column_stack([noisy_T, rng.integers(0, 4, frames)]))
    semantic.append(semantic_T)
  return Records(codes, semantic)


def test_statistics_of_a_known_source():
  rng = np.random.default_rng(2)
  found = token_statistics(_records(rng, 50), _records(rng, 10), 8)
  assert found["frames"] == {"train": 20_000, "held_out": 4_000}
  assert found["usage"] == [1.0, 0.5]
  np.testing.assert_allclose(found["entropy_bits"], [3, 2], atol=2e-3)
  np.testing.assert_allclose(found["perplexity"], [8, 4], atol=0.01)
  np.testing.assert_allclose(found["bigram_bits"], [3, 2], atol=0.02)
  # A code is its semantic token with probability 0.7 + 0.3 / 8, else one of the others.
  same, other = 0.7 + 0.3 / 8, 0.3 / 8
  information = 3 + same * np.log2(same) + 7 * other * np.log2(other)
  expected = [information, 0]
  np.testing.assert_allclose(found["semantic_information_bits"], expected, atol=0.03)
  assert all(len(found[name]) == 2 for name in MEASURES)


def test_records_are_read_from_the_tokens_stage(tmp_path, monkeypatch):
  made = _records(np.random.default_rng(3), 2, frames=5)
  write_tokens(
    tmp_path / "train.array_record",
    (
      {"id": str(i), "speaker": "a", "text": "b", "codes_TxK": c.astype(np.uint16),
       "semantic_T": s}
      for i, (c, s) in enumerate(zip(*made, strict=True))
    ),
  )  # fmt: skip
  for ours, theirs in zip(read_records(tmp_path / "train.array_record"), made,
                          strict=True):  # fmt: skip
    np.testing.assert_array_equal(ours, theirs)
  monkeypatch.setattr(token_stats, "_MOST_FRAMES", 8)
  (codes_TxK,), (semantic_T,) = read_records(tmp_path / "train.array_record")
  assert any(np.array_equal(codes_TxK, one) for one in made.codes)
  assert any(np.array_equal(semantic_T, one) for one in made.semantic)
  with pytest.raises(DataError, match="no such token file"):
    read_records(tmp_path / "test.array_record")
