"""Codes under an adaptive model: the same codes back, in the bits that are due."""

import pathlib
import re
import time

import numpy as np
import pytest
from toy_scores import ToyScores

from jaxcodec import token_file
from jaxcodec.coding import adaptive, bits, contexts, deflated, logistic, scored

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "token_file.md"


def test_tables_are_the_logistic_function_and_its_inverse():
  x = np.arange(-logistic.LIMIT, logistic.LIMIT + 1)
  expected = 65536 / (1 + np.exp(-x / 256))
  np.testing.assert_allclose(logistic.PROBABILITY, expected, rtol=0.04)  # of chords
  assert np.all(np.diff(logistic.PROBABILITY) >= 0)
  p = np.arange(2048, 65536 - 2048, 16)
  found = np.array(logistic.LOGIT)[p >> 4] / 256
  np.testing.assert_allclose(found, np.log(p / (65536 - p)), atol=0.05)
  assert logistic.LOGIT[2048] == 0


def test_decisions_cost_their_information():
  rng = np.random.default_rng(0)
  p = rng.integers(1, 65536, 20_000)
  ones = rng.integers(0, 65536, len(p)) < p
  out = bytearray()
  code, finish = bits.writer(out)
  for one, probability in zip(ones.tolist(), p.tolist(), strict=True):
    code(int(one), probability)
  finish()
  due = -np.log2(np.where(ones, p, 65536 - p) / 65536).sum()
  assert due <= 8 * len(out) <= due * 1.0005 + 16
  read, finish = bits.reader(bytes(out))
  assert [read(None, probability) for probability in p.tolist()] == ones.tolist()
  finish()


def _random(frames, K, num_bits, seed=0):
  rng = np.random.default_rng(seed)
  return [rng.integers(0, 1 << num_bits, (T, K)) for T in frames]


@pytest.mark.parametrize("num_bits", [1, 3, 10, 16])
@pytest.mark.parametrize("frames,K", [((1,), 1), ((3, 1, 20), 3)])
def test_clips_come_back(num_bits, frames, K):
  clips = _random(frames, K, num_bits)
  clips[0][0, 0], clips[-1][-1, -1] = (1 << num_bits) - 1, 0
  data = adaptive.encode(clips, num_bits)
  back = adaptive.decode(data, frames, K, num_bits)
  for found, codes_TxK in zip(back, clips, strict=True):
    np.testing.assert_array_equal(found, codes_TxK)
    assert found.dtype == np.int32


def _bits_a_code(clips, num_bits):
  return 8 * len(adaptive.encode(clips, num_bits)) / sum(c.size for c in clips)


def test_what_cannot_be_predicted_costs_little_more():
  assert _bits_a_code(_random((400,), 2, 6), 6) < 6 * 1.06


def test_what_is_drawn_alike_costs_its_entropy():
  p = np.array([0.6, 0.2, 0.1, 0.05, 0.02, 0.01, 0.01, 0.01])
  codes = np.random.default_rng(0).choice(8, (2500, 1), p=p)
  entropy = -(p * np.log2(p)).sum()
  assert entropy < _bits_a_code([codes], 3) < 1.06 * entropy


def test_every_context_is_learned():
  """Codes that follow from the frame before, the codebook before, or both alone."""
  rng = np.random.default_rng(0)
  step = rng.permutation(32)
  same = step[(np.arange(1500) + rng.integers(32)) % 32][:, None]
  assert _bits_a_code([same], 5) < 0.7
  first = rng.integers(0, 32, 1000)
  assert _bits_a_code([np.stack([first, step[first]], 1)], 5) < 3.2  # of 2.5
  drawn = rng.integers(0, 4, (1500, 2))
  for t in range(1, len(drawn)):
    drawn[t, 1] = (drawn[t - 1, 1] + drawn[t, 0]) % 4
  assert _bits_a_code([drawn], 2) < 1.3  # of 1: neither alone says anything


def test_silence_costs_next_to_nothing():
  assert _bits_a_code([np.full((500, 8), 1023)], 10) < 0.35


def test_blocks_cost_a_byte_each_and_come_back():
  (codes_TxK,) = _random((300,), 2, 5)
  whole = adaptive.Blocks(2, 5).encode(codes_TxK)
  writer, reader = adaptive.Blocks(2, 5), adaptive.Blocks(2, 5)
  cuts = np.split(codes_TxK, [1, 2, 7, 100, 250])
  blocks = [writer.encode(part) for part in cuts]
  for block, part in zip(blocks, cuts, strict=True):
    np.testing.assert_array_equal(reader.decode(block, len(part)), part)
  assert len(whole) <= sum(map(len, blocks)) <= len(whole) + 2 * len(cuts)


@pytest.mark.parametrize("frames", [(20,), (40,), (10**9,)])
def test_other_lengths_are_refused(frames):
  data = adaptive.encode(_random((30,), 2, 10), 10)
  with pytest.raises(ValueError, match="bytes of codes|end early"):
    adaptive.decode(data, frames, 2, 10)


def _block(title):
  """Returns the lines of the indented block that follows a line of the page."""
  after = PAGE.read_text().split(f"\n{title}\n", 1)[1]
  return re.match(r"\n((?:    .*\n)+)", after)[1].split()


FIRST, SECOND = [[1, 513], [1, 513], [1, 513], [7, 1023]], [[1, 513], [0, 2]]


@pytest.mark.parametrize(
  "title,version,entropy",
  [("1", 1, False), ("2", 2, True), ("2, scored", 2, ToyScores())],
)
def test_the_vectors_of_the_page(title, version, entropy, tmp_path):
  content = bytes.fromhex("".join(_block(f"Version {title}:")))
  assert content[4] == version
  path = tmp_path / "a.jxc"
  path.write_bytes(content)
  scores = None if isinstance(entropy, bool) else entropy
  found = token_file.read(path, language_model=scores)
  assert [codes_TxK.tolist() for codes_TxK in found.codes] == [FIRST, SECOND]
  assert found.gaps == [[], [1]] and found.num_samples == [1280, 600]
  _check_origin(found)
  token_file.write(tmp_path / "b.jxc", found, entropy=entropy)
  back = token_file.read(tmp_path / "b.jxc", language_model=scores)
  assert back.codes[1].tolist() == SECOND


def test_the_vector_of_a_file_that_grows(tmp_path):
  path = tmp_path / "a.jxc"
  path.write_bytes(bytes.fromhex("".join(_block("Version 4:"))))
  found = token_file.read(path)
  assert [codes_TxK.tolist() for codes_TxK in found.codes] == [FIRST]
  assert found.gaps == [[]] and found.num_samples == [1280]
  assert token_file.read_header(path)["complete"]
  _check_origin(found)


def _check_origin(found):
  assert found.spec == dict(
    num_codebooks=3, codebook_size=1024, hop=320, sample_rate=16_000
  )
  assert (found.sample_rate, found.fingerprint) == (16_000, 32 * "ab")


def test_the_page_has_the_package_s_numbers():
  text = PAGE.read_text()
  for dictionary in (deflated.DICTIONARY, deflated.SCORED_DICTIONARY):
    assert f"    {dictionary.decode()}\n" in text
  knots = re.search(r"    22 36 .*?\n\n", text, re.DOTALL)[0]
  assert tuple(map(int, knots.split())) == logistic._KNOTS
  for number in (*contexts.WEIGHTS, *scored.FIRST_WEIGHTS, "0x9E3779B1", "0x85EBCA6B"):
    assert str(number) in text


def test_coding_keeps_far_ahead_of_the_audio():
  """8 codebooks at 50 Hz; the time of this thread alone, as machines have others."""
  clips = _random((50,), 8, 10)
  start = time.thread_time()
  data = adaptive.encode(clips, 10)
  adaptive.decode(data, [50], 8, 10)
  assert time.thread_time() - start < 2 / 10  # of a second of audio, both ways
