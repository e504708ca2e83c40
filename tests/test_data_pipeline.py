"""Batches of crops: contents, resuming, shards, epochs, short utterances."""

import collections
import itertools

import numpy as np
import pytest
from data_helpers import RATE, RampSource, write_tone

from jaxcodec.data.batches.crops import crops, eval_crops, long_enough
from jaxcodec.data.source import DataError, open_source

SOURCE = RampSource([100, 200, 400, 50, 100, 333])
INDICES = [0, 1, 2, 4, 5]


def training(batch_size=4, seed=0, indices=INDICES, **kwargs):
  return crops(
    SOURCE,
    indices,
    sample_rate=RATE,
    crop_samples=100,
    batch_size=batch_size,
    seed=seed,
    **kwargs,
  )


def take(dataset, count):
  return list(itertools.islice(dataset, count))


def assert_same(left, right):
  for a, b in zip(left, right, strict=True):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key])


def test_crops_are_whole_and_from_inside():
  for batch in take(training(), 20):
    assert batch["audio_BxN"].shape == (4, 100)
    assert batch["audio_BxN"].dtype == np.float32
    assert batch["length_B"].dtype == batch["index_B"].dtype == np.int32
    assert (np.diff(batch["audio_BxN"]) == 1).all() and (batch["length_B"] == 100).all()
    ends = np.array([SOURCE.samples[index] for index in batch["index_B"]])
    assert (batch["audio_BxN"][:, 0] >= 1).all()
    assert (batch["audio_BxN"][:, -1] <= ends).all()


def test_an_epoch_draws_by_whole_crops_and_the_next_draws_others():
  whole_crops = {0: 1, 1: 2, 2: 4, 4: 1, 5: 3}
  rounds = -(-512 // sum(whole_crops.values()))
  epoch = rounds * sum(whole_crops.values())
  batches = take(training(batch_size=epoch), 3)
  drawn = [batch["index_B"].tolist() for batch in batches]
  starts = [batch["audio_BxN"][:, 0].tolist() for batch in batches]
  for one in drawn:
    counts = {index: rounds * crops for index, crops in whole_crops.items()}
    assert collections.Counter(one) == counts
  for one, other in itertools.combinations(range(3), 2):
    assert drawn[one] != drawn[other]
    assert collections.Counter(starts[one]) != collections.Counter(starts[other])


def test_starts_cover_the_utterance():
  batches = take(training(batch_size=100, indices=[2]), 20)
  starts = np.concatenate([batch["audio_BxN"][:, 0] for batch in batches])
  assert starts.min() == 1 and starts.max() == 301
  assert np.ptp(np.histogram(starts, 6, (1, 302))[0]) < 130


def test_seed_decides():
  assert_same(take(training(seed=1), 5), take(training(seed=1), 5))
  one, other = take(training(seed=1), 1)[0], take(training(seed=2), 1)[0]
  assert (one["audio_BxN"] != other["audio_BxN"]).any()


@pytest.mark.parametrize("consumed", [0, 1, 7])
def test_resumes_exactly(consumed):
  iterator = iter(training())
  take(iterator, consumed)
  state = iterator.get_state()
  expected = take(iterator, 6)
  resumed = iter(training())
  resumed.set_state(state)
  assert_same(take(resumed, 6), expected)
  assert iterator.get_state() == resumed.get_state()


def test_shards_make_up_the_batch_of_one_process():
  shards = [
    take(training(batch_size=2, shard_index=i, shard_count=2), 9) for i in range(2)
  ]
  for whole, *parts in zip(take(training(), 9), *shards, strict=True):
    joined = {key: np.concatenate([part[key] for part in parts]) for key in whole}
    assert_same([whole], [joined])


def test_short_utterances_are_named():
  with pytest.raises(
    DataError, match=r"1 of 6 .* u3: 0.003 s is shorter than .* 0.006"
  ):
    training(indices=range(6))
  kept, skipped = long_enough(
    SOURCE, range(6), sample_rate=RATE, crop_samples=100, on_error="skip"
  )
  assert kept == INDICES and [short["item"] for short in skipped] == ["u3"]
  with pytest.raises(DataError, match="none of 6 utterances fills the crop"):
    long_enough(SOURCE, range(6), sample_rate=RATE, crop_samples=999, on_error="skip")


@pytest.mark.parametrize("shard_count", [1, 2])
def test_eval_is_one_pass_over_the_middle(shard_count):
  batches = [
    list(
      eval_crops(
        SOURCE,
        range(6),
        sample_rate=RATE,
        crop_samples=100,
        batch_size=4,
        shard_index=shard,
        shard_count=shard_count,
      )
    )
    for shard in range(shard_count)
  ]
  assert len({len(part) for part in batches}) == 1
  rows = [
    (int(batch["index_B"][row]), int(batch["length_B"][row]), batch["audio_BxN"][row])
    for batch in itertools.chain(*batches)
    for row in range(4)
  ]
  assert sorted(index for index, *_ in rows) == [-1, -1, 0, 1, 2, 3, 4, 5]
  for index, length, audio_N in rows:
    samples = SOURCE.samples[index] if index >= 0 else 0
    assert length == min(100, samples) and not audio_N[length:].any()
    if length:
      assert audio_N[0] == max(0, (samples - 100) // 2) + 1


def test_workers_change_neither_batches_nor_positions():
  whole = take(training(batch_size=8), 8)
  shard = {"shard_index": 1, "shard_count": 2, "batch_size": 4}
  working = iter(training(workers=2, **shard))
  batches = [next(working) for _ in range(6)]
  for batch, both in zip(batches, whole, strict=False):
    np.testing.assert_array_equal(batch["audio_BxN"], both["audio_BxN"][4:])
  state = working.get_state()
  rest = [next(working), next(working)]
  working.close()
  for workers in (0, 1):
    resumed = iter(training(workers=workers, **shard))
    resumed.set_state(state)
    assert_same([next(resumed), next(resumed)], rest)
    assert resumed.get_state() == working.get_state()
    resumed.close()


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_recording_that_is_lost_after_the_check(tmp_path, on_error, caplog):
  for name in "abc":
    write_tone(tmp_path / f"{name}.wav")
  options = dict(sample_rate=RATE, on_error=on_error, cache_bytes=0)
  source = open_source("folder", str(tmp_path), **options)
  (tmp_path / "b.wav").write_bytes(b"RIFF")
  shape = dict(sample_rate=RATE, crop_samples=800, batch_size=3, seed=0)
  batches = crops(source, [0, 1, 2], **shape)
  if on_error == "raise":
    with pytest.raises(DataError, match="b.wav"):
      take(batches, 9)
    return
  batches = take(batches, 9)
  drawn = {int(index) for batch in batches for index in batch["index_B"]}
  assert drawn == {0, 2}
  assert all(batch["audio_BxN"].any(axis=1).all() for batch in batches)
  assert "b.wav" in caplog.text
