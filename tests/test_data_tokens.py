"""Token records: they come back as written, broken ones are named; their batches."""

import itertools

import numpy as np
import pytest

from jaxcodec.data.batches.token_windows import eval_token_batches, token_batches
from jaxcodec.data.source import DataError
from jaxcodec.data.token_store import TokenSource, join_tokens, write_tokens

FRAMES = [30, 80, 5, 41]


def record(number, frames, codebooks=3):
  """Returns record n: code (t, k) is 1000 n + 10 t + k, semantic token t is t + 1."""
  t = np.arange(frames)
  codes_TxK = 1000 * number + 10 * t[:, None] + np.arange(codebooks)
  return {
    "id": f"u{number}",
    "speaker": "ann",
    "text": "Où?" if number else None,
    "codes_TxK": codes_TxK.astype(np.uint16),
    "semantic_T": (t + 1).astype(np.int32),
    "seconds": np.float32(1.5),
  }


@pytest.fixture
def path(tmp_path):
  path = tmp_path / "tokens" / "train.array_record"
  assert write_tokens(path, (record(n, t) for n, t in enumerate(FRAMES))) == 4
  return path


def test_records_come_back(path):
  source = TokenSource(path)
  assert len(source) == 4 and source.num_codebooks == 3
  assert source.labels[2] == {"id": "u2", "speaker": "ann", "text": "Où?", "frames": 5}
  for number, frames in enumerate(FRAMES):
    written, read = record(number, frames), source[number]
    assert written.keys() == read.keys() and read["text"] == written["text"]
    for key in ("codes_TxK", "semantic_T"):
      assert read[key].dtype == written[key].dtype
      np.testing.assert_array_equal(read[key], written[key])
  assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(path):
  def failing():
    yield record(7, 9)
    raise RuntimeError("interrupted")

  before = path.read_bytes()
  with pytest.raises(RuntimeError, match="interrupted"):
    write_tokens(path, failing())
  assert path.read_bytes() == before
  assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    ({"codes_TxK": np.zeros((4, 3), np.float32)}, "'u0': expected integer arrays"),
    (
      {"semantic_T": np.zeros(3, np.int32)},
      r"got codes_TxK \(30, 3\), semantic_T \(3,",
    ),
    ({"codes_TxK": np.zeros((0, 3), np.int32)}, "T > 0"),
  ],
)
def test_bad_records(tmp_path, change, reason):
  with pytest.raises(DataError, match=reason):
    write_tokens(tmp_path / "t", [{**record(0, 30), **change}])
  assert list(tmp_path.iterdir()) == []


def test_incomplete_and_no_records(tmp_path):
  with pytest.raises(DataError, match=r"record 'u0' lacks \['speaker'\]"):
    bad = record(0, 3)
    del bad["speaker"]
    write_tokens(tmp_path / "t", [bad])
  with pytest.raises(DataError, match="there are no token records"):
    write_tokens(tmp_path / "t", [])


def test_joined_parts_are_the_file_in_one(path, tmp_path):
  parts = [tmp_path / f"{n}.array_record" for n in range(2)]
  for part, numbers in zip(parts, [(0, 1, 2), (3,)], strict=True):
    write_tokens(part, (record(n, FRAMES[n]) for n in numbers))
  join_tokens(tmp_path / "joined", parts)
  assert (tmp_path / "joined").read_bytes() == path.read_bytes()
  parts[1].write_bytes(parts[1].read_bytes()[:-10])
  with pytest.raises(DataError, match="1.array_record: is not a whole token file"):
    join_tokens(tmp_path / "broken", parts)
  with pytest.raises(DataError, match="broken: there are no token records"):
    join_tokens(tmp_path / "broken", [])
  assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize("keep", [0, 100, 0.5, -10])
def test_truncated_file(path, keep):
  data = path.read_bytes()
  path.write_bytes(data[: int(len(data) * keep) if keep == 0.5 else keep])
  with pytest.raises(DataError, match="train.array_record: is not a whole token file"):
    TokenSource(path)


def test_corrupt_file(path):
  data = bytearray(path.read_bytes())
  data[1000] ^= 255
  path.write_bytes(data)
  with pytest.raises(DataError, match="train.array_record: is not a whole token file"):
    TokenSource(path)


def test_missing_and_mixed_files(tmp_path):
  with pytest.raises(DataError, match="gone: no such token file"):
    TokenSource(tmp_path / "gone")
  write_tokens(tmp_path / "mixed", [record(0, 5), record(1, 5, codebooks=2)])
  with pytest.raises(DataError, match=r"differ in codebooks: \[2, 3\]"):
    TokenSource(tmp_path / "mixed")


def take(dataset, count):
  return list(itertools.islice(dataset, count))


def check_window(batch, row, frames):
  """Checks that the row is a contiguous window of its record, padded with zeros."""
  number, mask_T = batch["index_B"][row], batch["mask_BxT"][row]
  valid = mask_T.sum()
  assert valid == (min(frames, FRAMES[number]) if number >= 0 else 0)
  assert mask_T[:valid].all()
  codes_TxK, semantic_T = batch["codes_BxTxK"][row], batch["semantic_BxT"][row]
  assert not codes_TxK[valid:].any() and not semantic_T[valid:].any()
  if valid:
    start = semantic_T[0] - 1
    expected = record(number, FRAMES[number])["codes_TxK"][start : start + valid]
    np.testing.assert_array_equal(codes_TxK[:valid], expected)
    np.testing.assert_array_equal(np.diff(semantic_T[:valid]), 1)


def test_training_windows(path):
  dataset = token_batches(TokenSource(path), batch_size=512, frames=20, seed=0)
  batch = take(dataset, 1)[0]
  for row in range(512):
    check_window(batch, row, 20)
  assert batch["codes_BxTxK"].dtype == batch["semantic_BxT"].dtype == np.int32
  # An epoch draws a record once for each whole window: 1, 4, 1 and 2, here 64 times.
  assert np.bincount(batch["index_B"]).tolist() == [64, 256, 64, 128]
  assert len(set(batch["semantic_BxT"][batch["index_B"] == 1, 0].tolist())) > 40


def test_short_windows_are_filled_with_others_of_the_speaker(tmp_path):
  """Each part is a record from its beginning on, and the last one is cut."""
  path, speakers = tmp_path / "t.array_record", ["ann", "ann", "bo", "ann", "unknown"]
  frames = [7, 9, 8, 30, 5]
  records = (
    {**record(n, t), "speaker": s}
    for n, (t, s) in enumerate(zip(frames, speakers, strict=True))
  )
  write_tokens(path, records)
  options = dict(batch_size=320, frames=20, seed=0, fill=True)
  batch, again = (take(token_batches(TokenSource(path), **options), 1)[0] for _ in "ab")
  seen = set()
  for row, index in enumerate(batch["index_B"].tolist()):
    codes_T, semantic_T = batch["codes_BxTxK"][row, :, 0], batch["semantic_BxT"][row]
    numbers = codes_T // 1000
    if speakers[index] != "ann":  # alone, or whose others are not known
      assert batch["mask_BxT"][row].sum() == frames[index]
      continue
    assert batch["mask_BxT"][row].all() and set(numbers) <= {0, 1, 3}
    np.testing.assert_array_equal(codes_T, 1000 * numbers + 10 * (semantic_T - 1))
    begins = np.flatnonzero(np.diff(semantic_T) != 1) + 1
    assert (semantic_T[begins] == 1).all() and numbers[0] == index
    seen.add(tuple(numbers[[0, *begins]]))
  assert len(seen) > 10
  np.testing.assert_array_equal(batch["codes_BxTxK"], again["codes_BxTxK"])


def test_resumes_exactly(path):
  make = lambda: iter(  # noqa: E731
    token_batches(TokenSource(path), [0, 1], batch_size=3, frames=20, seed=0)
  )
  iterator, resumed = make(), make()
  take(iterator, 5)
  resumed.set_state(iterator.get_state())
  for left, right in zip(take(iterator, 5), take(resumed, 5), strict=True):
    for key in left:
      np.testing.assert_array_equal(left[key], right[key])


def test_eval_windows(path):
  batches = list(eval_token_batches(TokenSource(path), batch_size=3, frames=35))
  assert [batch["index_B"].tolist() for batch in batches] == [[0, 1, 2], [3, -1, -1]]
  for batch, row in itertools.product(batches, range(3)):
    check_window(batch, row, 35)
    assert batch["semantic_BxT"][row, 0] in (0, 1)


def test_no_indices(path):
  with pytest.raises(DataError, match="train.array_record: no records are selected"):
    token_batches(TokenSource(path), [], batch_size=1, frames=9, seed=0)
