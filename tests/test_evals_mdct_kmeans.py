"""The codec without a network: its transform, its codes, and what is kept of it."""

import dataclasses
import types

import numpy as np
import pytest
from evals_helpers import RATE, clip, voice

from jaxcodec.build.fields import ConfigError
from jaxcodec.evals import mdct_kmeans
from jaxcodec.pipeline import yardstick
from jaxcodec.report.format import below_yardstick, format_table
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=16, hop=80, sample_rate=RATE)
AUDIO = [voice(seed, 0.7) for seed in range(4)]


@pytest.fixture(scope="module")
def fitted():
  return mdct_kmeans.fit(AUDIO, SPEC, seed=0)


@pytest.mark.parametrize("samples", [1, 79, 80, 1000])
def test_the_transform_is_the_textbooks_and_is_undone(samples):
  x = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
  found = mdct_kmeans.mdct(x, 80)
  assert found.shape == (-(-samples // 80) + 1, 80)
  np.testing.assert_allclose(mdct_kmeans.inverse_mdct(found, samples), x, atol=1e-5)
  # Princen, Johnson and Bradley's sum, for the second frame.
  n, k = np.arange(160), 7
  frame = np.zeros(160)
  frame[: min(samples, 160)] = x[:160]
  phase = np.pi / 80 * (n + 0.5 + 40) * (k + 0.5)
  value = np.sum(frame * np.sin(np.pi * (n + 0.5) / 160) * np.cos(phase))
  np.testing.assert_allclose(found[1, k], value * np.sqrt(2 / 80), atol=1e-4)


def test_every_level_takes_the_nearest_code_of_what_is_left(fitted):
  assert fitted.books_KxVxH.shape == (3, 16, 80)
  codes = fitted.code(AUDIO[0])
  left = mdct_kmeans.mdct(AUDIO[0], 80) * fitted.weight_H
  powers = [np.mean(left**2)]
  for k, book in enumerate(fitted.books_KxVxH):
    distance = np.sum((left[:, None] - book[None]) ** 2, -1)
    chosen = np.take_along_axis(distance, codes[:, k : k + 1], 1)[:, 0]
    np.testing.assert_allclose(chosen, distance.min(1), rtol=1e-4)
    left = left - book[codes[:, k]]
    powers.append(np.mean(left**2))
  assert powers == sorted(powers, reverse=True) and powers[-1] < 0.5 * powers[0]
  decoded = mdct_kmeans.mdct(fitted.decode(codes, len(AUDIO[0])), 80)
  near = mdct_kmeans.mdct(AUDIO[0], 80) - left / fitted.weight_H
  np.testing.assert_allclose(decoded[1:-1], near[1:-1], atol=0.05 * np.abs(near).max())


def test_codes_are_pairs_of_either_sign_and_means_of_their_frames():
  one = mdct_kmeans.fit(AUDIO, dataclasses.replace(SPEC, num_codebooks=1), seed=0)
  book = one.books_KxVxH[0]
  np.testing.assert_array_equal(book[:8], -book[8:])
  odd = mdct_kmeans.fit(AUDIO, dataclasses.replace(SPEC, codebook_size=17), seed=0)
  assert odd.books_KxVxH.shape == (3, 17, 80) and not odd.books_KxVxH[:, -1].any()
  np.testing.assert_array_equal(odd.books_KxVxH[0, :16], book)
  # Nearly the fixed point of k-means, after a few iterations.
  frames = np.concatenate([mdct_kmeans.mdct(x, 80) for x in AUDIO]) * one.weight_H
  frames = np.concatenate([frames, -frames])
  codes = ((frames[:, None] - book[None]) ** 2).sum(-1).argmin(1)
  means = np.stack([frames[codes == v].mean(0) for v in range(16)])
  assert np.linalg.norm(means - book) < 0.2 * np.linalg.norm(book)


def test_the_same_seed_gives_the_same_and_bits_are_counted(fitted):
  again = mdct_kmeans.fit(iter(AUDIO), SPEC, seed=0)
  np.testing.assert_array_equal(again.books_KxVxH, fitted.books_KxVxH)
  other = mdct_kmeans.fit(AUDIO, SPEC, seed=1)
  assert not np.array_equal(other.books_KxVxH, fitted.books_KxVxH)
  (coded,) = mdct_kmeans.coded_clips([clip(0)], fitted)
  frames = -(-len(coded.audio) // 80) + 1
  assert coded.bits == frames * 3 * 4 and coded.codes_TxK is None
  assert coded.audio.shape == coded.reference.shape
  assert np.corrcoef(coded.audio, coded.reference)[0, 1] > 0.5


def test_it_is_fitted_once_and_again_where_the_file_is_damaged(fitted, tmp_path):
  calls = []

  def fit():
    calls.append(1)
    return fitted

  for expected in (1, 1):
    found = mdct_kmeans.fit_once(tmp_path / "kept", {"seed": 0}, fit)
    np.testing.assert_array_equal(found.books_KxVxH, fitted.books_KxVxH)
    assert len(calls) == expected
  (path,) = (tmp_path / "kept").iterdir()
  path.write_bytes(path.read_bytes()[:-9])
  mdct_kmeans.fit_once(tmp_path / "kept", {"seed": 0}, fit)
  mdct_kmeans.fit_once(tmp_path / "kept", {"seed": 1}, fit)
  assert len(calls) == 3


UTTERANCES = [types.SimpleNamespace(id=f"u{i}") for i in range(4)]


def test_it_is_fitted_to_the_training_part_and_kept_by_the_codec(tmp_path, monkeypatch):
  asked = []

  def audio(index):
    asked.append(index)
    return AUDIO[index]

  config = {"data": {"path": "x", "workers": 0, "options": {}}}
  experiment = types.SimpleNamespace(
    config=config,
    workdir=tmp_path,
    seed=3,
    spec=SPEC,
    split={"train": [0, 2, 3], "valid": [], "test": [1]},
    source=types.SimpleNamespace(fingerprint="00", utterances=UTTERANCES),
    done={"codec": types.SimpleNamespace(folder=tmp_path / "codec")},
    audio=audio,
  )
  first = yardstick.clips(experiment, [clip(1)])
  assert sorted(asked) == [0, 2, 3] and len(list(tmp_path.rglob("*.safetensors"))) == 1
  monkeypatch.setattr(mdct_kmeans, "fit", None)
  again = yardstick.clips(experiment, [clip(1)])
  np.testing.assert_array_equal(again[0].audio, first[0].audio)
  before = yardstick.inputs(experiment)
  experiment.split["train"].pop()  # one that is too short for another codec's crops
  assert yardstick.inputs(experiment) != before


def test_too_little_audio_is_an_error():
  with pytest.raises(ValueError, match="16 codes need as many frames, got 3"):
    mdct_kmeans.fit([AUDIO[0][:160]], SPEC, 0)
  experiment = types.SimpleNamespace(
    config={"evaluate": {"mdct_kmeans": True}},
    spec=SPEC,
    source=types.SimpleNamespace(utterances=[types.SimpleNamespace(seconds=0.05)]),
    split={"train": [0]},
  )
  with pytest.raises(
    ConfigError, match="evaluate.mdct_kmeans: must be False: 16 codes"
  ):
    yardstick.check(experiment)
  experiment.config["evaluate"] = {}
  yardstick.check(experiment)


def test_a_codec_below_it_says_so():
  measured = lambda pesq, stoi: {"pesq_wb": {"mean": pesq}, "stoi": {"mean": stoi}}  # noqa: E731
  line = below_yardstick(
    {"reconstruction": measured(1.2, 0.9), "mdct_kmeans": measured(1.4, 0.8)}
  )
  assert "pesq_wb 1.200 against 1.400" in line and "stoi" not in line
  assert not below_yardstick({"reconstruction": measured(1.2, 0.9)})
  results = {"reconstruction": measured(1.2, 0.7), "mdct_kmeans": measured(1.4, 0.8)}
  for measures in results.values():
    for m in measures.values():
      m.update(ci95=[None, None], n=2, n_failed=0)
  about = dict.fromkeys(("pesq_wb", "stoi"), {"better": "higher", "unit": ""})
  table = format_table({**results, "metrics": about, "absent": {}})
  assert "stoi 0.700 against 0.800" in table.splitlines()[-1]
