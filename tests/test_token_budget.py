"""Batches of whole utterances: shapes, budget, epochs, shards, exact resume."""

import itertools
import logging as python_logging

import numpy as np
import pytest

from jaxcodec.data.batches.length_buckets import Plan, make_buckets
from jaxcodec.data.batches.utterances import utterance_batches
from jaxcodec.data.source import DataError
from jaxcodec.data.token_store import TokenSource, write_tokens

COUNT, MAX_FRAMES, BUDGET = 60, 200, 512
FRAMES = [5 + 37 * n % 211 for n in range(COUNT)]
USABLE = [n for n in range(COUNT) if FRAMES[n] <= MAX_FRAMES and n % 10 != 3]


def record(number):
  """Returns record n, whose code (t, k) is 100 n + 2 t + k; every tenth has no text."""
  t = np.arange(FRAMES[number])
  text_S = 3 + np.arange(1 + FRAMES[number] // 4, dtype=np.int32)
  return {
    **{"id": f"u{number}", "speaker": "ann", "text": "yes"},
    "codes_TxK": (100 * number + 2 * t[:, None] + np.arange(2)).astype(np.uint16),
    "semantic_T": t.astype(np.int32),
    **({"text_S": text_S} if number % 10 != 3 else {}),
  }


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  path = tmp_path_factory.mktemp("tokens") / "train.array_record"
  write_tokens(path, map(record, range(COUNT)))
  return TokenSource(path)


@pytest.fixture(scope="module")
def buckets(source):
  return make_buckets(
    source, budget=BUDGET, max_frames=MAX_FRAMES, num_buckets=4, rows_multiple=2
  )


def take(dataset, count):
  return list(itertools.islice(dataset, count))


def same(left, right):
  for key in left.keys() | right.keys():
    np.testing.assert_array_equal(left[key], right[key])


def test_buckets(source, buckets):
  assert 1 < len(buckets) <= 4
  assert sorted(i for one in buckets for i in one.members) == USABLE
  for one in buckets:
    lengths = [FRAMES[i] for i in one.members]
    assert one.frames - 8 < max(lengths) <= one.frames and one.frames % 8 == 0
    assert one.symbols == 1 + max(lengths) // 4
    assert one.rows % 2 == 0 and 0 < one.rows * one.frames <= BUDGET
  spans = [sorted(FRAMES[i] for i in one.members) for one in buckets]
  assert all(a[-1] < b[0] for a, b in itertools.pairwise(spans))


def test_an_epoch_has_every_utterance_once(source, buckets):
  epoch = len(Plan(buckets, seed=0))
  batches = take(utterance_batches(source, buckets, seed=0), 2 * epoch)
  orders = []
  for part in (batches[:epoch], batches[epoch:]):
    order = [i for batch in part for i in batch["index_B"].tolist() if i >= 0]
    assert sorted(order) == USABLE
    orders.append(order)
  assert orders[0] != orders[1]
  shapes = {tuple((key, x.shape) for key, x in batch.items()) for batch in batches}
  assert len(shapes) == len(buckets)
  assert all(batch["mask_BxT"].size <= BUDGET for batch in batches)


def test_rows_are_whole_records(source, buckets):
  rows = 0
  for batch in utterance_batches(source, buckets, seed=1, repeat=False):
    for row, index in enumerate(batch["index_B"].tolist()):
      expected = record(index) if index >= 0 else {"codes_TxK": np.zeros((0, 2))}
      frames, text = len(expected["codes_TxK"]), expected.get("text_S", [])
      assert batch["mask_BxT"][row].sum() == frames
      assert batch["text_mask_BxS"][row].sum() == len(text) + 2
      for key, valid in (
        ("codes_BxTxK", expected["codes_TxK"]),
        ("semantic_BxT", np.arange(frames)),
        ("text_BxS", [1, *text, 2]),
      ):
        np.testing.assert_array_equal(batch[key][row, : len(valid)], valid)
        assert not batch[key][row, len(valid) :].any()
        assert batch[key].dtype == np.int32
      assert not batch["prompt_symbols_B"][row] and not batch["prompt_frames_B"][row]
      rows += index >= 0
  assert rows == len(USABLE)


def test_one_pass_is_the_same_again(source, buckets):
  dataset = utterance_batches(source, buckets, seed=0, repeat=False)
  first, second = list(dataset), list(dataset)
  assert len(first) == len(Plan(buckets, seed=0))
  for left, right in zip(first, second, strict=True):
    same(left, right)


def test_resumes_exactly_across_an_epoch(source, buckets):
  dataset = utterance_batches(source, buckets, seed=0)
  epoch = len(Plan(buckets, seed=0))
  iterator, resumed = iter(dataset), iter(dataset)
  take(iterator, epoch - 2)
  resumed.set_state(iterator.get_state())
  for left, right in zip(take(iterator, 5), take(resumed, 5), strict=True):
    same(left, right)


def test_shards_share_each_batch(source, buckets):
  shards = [
    utterance_batches(source, buckets, seed=0, shard_index=s, shard_count=2)
    for s in range(2)
  ]
  whole = utterance_batches(source, buckets, seed=0)
  for both, *parts in zip(*(take(data, 9) for data in (whole, *shards)), strict=True):
    for s, part in enumerate(parts):
      same({key: np.split(x, 2)[s] for key, x in both.items()}, part)
  with pytest.raises(DataError, match="4 processes cannot share batches of"):
    utterance_batches(source, buckets, seed=0, shard_index=0, shard_count=4)


def test_few_records_make_small_batches(source):
  (one,) = make_buckets(source, [0, 1, 2], budget=9999, max_frames=99, num_buckets=1)
  assert one.rows == 3
  assert {len(np.flatnonzero(Plan([one], 0)[n][1] >= 0)) for n in range(4)} == {3}


@pytest.mark.parametrize(
  ("settings", "reason"),
  [
    ({"max_frames": 4}, "of 60 records, 54 have a text and none of them has at most 4"),
    ({"budget": 300}, "a batch of 300 frames cannot hold 2 rows of 152; allow more"),
    ({"indices": [3, 13]}, "of 2 records, 0 have a text"),
  ],
)
def test_nothing_fits(source, settings, reason):
  settings = {"budget": BUDGET, "max_frames": MAX_FRAMES, **settings}
  with pytest.raises(DataError, match=f"train.array_record: {reason}"):
    make_buckets(source, num_buckets=4, rows_multiple=2, **settings)


def test_what_is_left_out_is_logged(source, caplog):
  with caplog.at_level(python_logging.INFO):
    make_buckets(source, budget=BUDGET, max_frames=MAX_FRAMES, num_buckets=4)
  too_long = sum(f > MAX_FRAMES for n, f in enumerate(FRAMES) if n % 10 != 3)
  (line,) = [text for text in caplog.messages if "shapes of batches" in text]
  assert f"left out: {too_long} too long, 6 without text" in line


def test_text_ids_of_a_record(tmp_path):
  bad = {**record(0), "text_S": np.zeros(0, np.int32)}
  with pytest.raises(DataError, match="'u0': expected text_S of integers"):
    write_tokens(tmp_path / "t", [bad])
