"""Noise in place of data."""

import itertools

import numpy as np
import pytest

from jaxcodec.data.source import DataError, open_source
from jaxcodec.data.sources.synthetic import synthetic_crops, synthetic_tokens


def _take(dataset, count):
  return list(itertools.islice(dataset, count))


def test_crops_are_endless_noise():
  batches = _take(synthetic_crops(crop_samples=800, batch_size=3, seed=0), 9)
  assert batches[0]["audio_BxN"].shape == (3, 800)
  assert batches[0]["audio_BxN"].dtype == np.float32
  assert 0.09 < batches[8]["audio_BxN"].std() < 0.11
  assert (batches[0]["audio_BxN"] != batches[1]["audio_BxN"]).any()
  assert batches[1]["index_B"].tolist() == [3, 4, 5]


def test_tokens_are_within_their_ranges():
  shape = dict(frames=50, num_codebooks=2, codebook_size=8, num_semantic=5)
  batches = _take(synthetic_tokens(**shape, batch_size=3, seed=0), 6)
  codes_BxTxK = batches[5]["codes_BxTxK"]
  assert codes_BxTxK.shape == (3, 50, 2) and set(np.unique(codes_BxTxK)) == {*range(8)}
  assert set(np.unique(batches[0]["semantic_BxT"])) == {*range(5)}
  assert batches[0]["mask_BxT"].all() and batches[0]["mask_BxT"].shape == (3, 50)


def test_there_is_nothing_to_read():
  source = open_source("synthetic", sample_rate=16_000)
  assert not source.utterances
  with pytest.raises(DataError, match="data.source=synthetic has no recordings"):
    source.audio(0, 16_000)
  with pytest.raises(DataError, match="data.path: data.source=synthetic reads nothing"):
    open_source("synthetic", "some/folder", sample_rate=16_000)
