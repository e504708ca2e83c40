"""Codes under a language model: the same ones back, whatever its floats do."""

import numpy as np
import pytest
from toy_scores import ToyScores, diagonals, levels, toy_scores

from jaxcodec import token_file
from jaxcodec.coding import adaptive, scored
from jaxcodec.token_file import TokenFile

SPEC = dict(num_codebooks=3, codebook_size=1024, hop=320, sample_rate=16_000)


def _random(frames, K, size, seed=0):
  rng = np.random.default_rng(seed)
  return [rng.integers(0, size, (T, K)).astype(np.int32) for T in frames]


class _Long(ToyScores):
  frames, past = 90, 10


class _Sharp(_Long):
  scale = 6


def _drawn(frames, K):
  """Draws codes as `_Sharp` says; also returns the bits that they are due."""
  rng, due = np.random.default_rng(0), 0.0
  codes_TxK = np.zeros((frames, K), np.int32)
  for t in range(frames):
    for k in range(K):
      c = int(codes_TxK[t, k - 1] if k else codes_TxK[t - 1, 0])
      p = np.exp(_Sharp.scale * toy_scores(c, k))
      p /= p.sum()
      codes_TxK[t, k] = rng.choice(1024, p=p)
      due -= np.log2(p[codes_TxK[t, k]])
  return codes_TxK, due


def test_decisions_have_the_probabilities_of_the_codes_below():
  scores = np.random.default_rng(0).normal(0, 2, (2, 6))
  p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
  logits = scored.node_logits(scores, 3)
  for node, zeros, ones in [(1, [0, 1, 2, 3], [4, 5]), (2, [0, 1], [2, 3]), (6, 4, 5)]:
    sums = [p[:, np.atleast_1d(codes)].sum(1) for codes in (zeros, ones)]
    np.testing.assert_allclose(logits[:, node], 256 * np.log(sums[1] / sums[0]))
  assert logits[:, 3].tolist() == [-2047] * 2  # no code is above 5
  far = scored.node_logits(np.array([[-1e6, 0.0, 0.0]]), 2)
  assert far[0, 2] == 2047 and np.isfinite(far).all()


def test_the_grid_lies_where_no_number_is_near_its_edges():
  rng = np.random.default_rng(0)
  logits = np.clip(rng.normal(0, 900, 2560), -2047, 2047)

  def margin(offset):
    place = logits / scored.STEP + offset / 4096
    return np.abs(place - np.round(place)).min() * scored.STEP

  best = scored.best_offset(logits)
  margins = [margin(offset) for offset in range(4096)]
  assert margins[best] >= max(margins) - scored.STEP / 4096
  assert margins[best] > 0.2  # of a 256th
  same = scored.rounded(logits, best)
  assert np.abs(same - logits).max() <= scored.STEP / 2 + 1
  for _ in range(20):
    noise = rng.uniform(-0.99, 0.99, logits.shape) * margins[best]
    np.testing.assert_array_equal(scored.rounded(logits + noise, best), same)
  assert scored.best_offset(np.full(5, 2047.0)) in range(4096)


@pytest.mark.parametrize("size,num_bits", [(2, 1), (5, 3), (1000, 10)])
@pytest.mark.parametrize("order", [levels, diagonals])
@pytest.mark.parametrize("frames,K", [((1,), 1), ((7, 1, 3), 3)])
def test_clips_come_back(size, num_bits, order, frames, K):
  clips, scores = _random(frames, K, size), ToyScores(size=size, order=order)
  data = scored.encode(clips, num_bits, scores)
  back = scored.decode(data, frames, K, num_bits, scores)
  for found, codes_TxK in zip(back, clips, strict=True):
    np.testing.assert_array_equal(found, codes_TxK)
    assert found.dtype == np.int32


class _Rough(_Long):
  """Scores as a network's, which lie anywhere, and are a bit off on each machine."""

  def reveal(self, past_PxK, T):
    rng, steps, codes = np.random.default_rng(T), super().reveal(past_PxK, T), None
    while True:
      try:
        cells, scores_NxV = steps.send(codes)
      except StopIteration:
        return
      rough = rng.normal(0, 3, scores_NxV.shape)
      codes = yield scored.Scored(cells, scores_NxV + rough)


def test_what_the_model_knows_is_not_paid_for():
  codes_TxK, due = _drawn(300, 2)
  found = 8 * len(scored.encode([codes_TxK], 10, _Sharp()))
  assert due < found < 1.08 * due < 0.9 * 8 * len(adaptive.encode([codes_TxK], 10))


def test_a_model_that_knows_nothing_costs_little():
  codes_TxK = _random((300,), 2, 16)[0]
  found = 8 * len(scored.encode([codes_TxK], 4, _Long(size=16))) / codes_TxK.size
  assert found < 4 * 1.1


@pytest.mark.parametrize("noise", [1e-6, 2e-4])
def test_other_floats_give_the_same_codes(noise):
  (codes_TxK,) = _random((200,), 3, 1024)
  data = scored.encode([codes_TxK], 10, _Rough(seed=0))
  for seed in (1, 2, 3):
    (back,) = scored.decode(data, [200], 3, 10, _Rough(noise, seed))
    np.testing.assert_array_equal(back, codes_TxK)


@pytest.mark.parametrize("seed", range(8))
def test_floats_too_far_away_are_an_error(seed):
  (codes_TxK,) = _random((20,), 3, 1024)
  data = scored.encode([codes_TxK], 10, _Rough())
  with pytest.raises(ValueError, match="checksum of codes|end early|bytes of codes"):
    scored.decode(data, [20], 3, 10, _Rough(0.5, seed))


@pytest.mark.parametrize("frames", [20, 40, 10**9])
def test_other_lengths_are_refused(frames):
  data = scored.encode(_random((30,), 2, 1024), 10, ToyScores())
  with pytest.raises(ValueError, match="checksum of codes|end early|bytes of codes"):
    scored.decode(data, [frames], 2, 10, ToyScores())


def _content(**fields):
  codes = _random((4, 1, 7), 2, 1024)
  given = dict(fingerprint=32 * "ab", **fields)
  return TokenFile(SPEC, codes, [[]] * 3, [1280, 320, 2240], 16_000, **given)


def test_files_name_their_model(tmp_path):
  path, content, toy = tmp_path / "a.jxc", _content(), ToyScores()
  token_file.write(path, content, entropy=toy)
  found = token_file.read(path, language_model=toy)
  for back, codes_TxK in zip(found.codes, content.codes, strict=True):
    np.testing.assert_array_equal(back, codes_TxK)
  header = token_file.read_header(path)
  about = dict(name="toy", fingerprint=16 * "c", scheme="toy-1")
  assert (header["coding"], header["language_model"]) == ("scored", about)


@pytest.mark.parametrize(
  "field,value,message",
  [
    ("fingerprint", 16 * "d", "'toy': expected the fingerprint cccccc.*, got ddd"),
    ("scheme", "toy-2", "'toy': expected the scheme toy-1, got toy-2"),
    ("codec_fingerprint", "ef", "of another codec's tokens: expected .*abab, got ef"),
    ("reveal", ToyScores(1.0).reveal, "do not come out: .*'toy' may compute other"),
    (None, None, "'toy': say where that is, by language_model"),
  ],
)
def test_other_models_are_refused(tmp_path, field, value, message):
  path, other = tmp_path / "a.jxc", ToyScores()
  token_file.write(path, _content(), entropy=ToyScores())
  if field:
    setattr(other, field, value)
  with pytest.raises(ValueError, match=f"{path}: .*{message}"):
    token_file.read(path, language_model=other if field else None)


def test_the_model_of_another_codec_is_not_written_by(tmp_path):
  content = TokenFile(**{**vars(_content()), "fingerprint": "ef"})
  with pytest.raises(ValueError, match="another codec's tokens"):
    token_file.write(tmp_path / "a.jxc", content, entropy=ToyScores())
  assert not list(tmp_path.iterdir())
