"""Noise in place of data, to time training without reading files."""

from collections.abc import Callable

import grain
import numpy as np

from jaxcodec.data.source import DataError, Utterance

NAME = "synthetic"
_POOL = 4  # different batches, which repeat


class Synthetic:
  """A source without recordings."""

  utterances: tuple[Utterance, ...] = ()
  fingerprint = NAME

  def __init__(self):
    self.skipped: list[dict[str, str]] = []

  def audio(self, index: int, sample_rate: int) -> np.ndarray:
    raise DataError(f"data.source={NAME} has no recordings")


def open_synthetic(path: str | None, *, sample_rate: int, on_error: str) -> Synthetic:
  """Returns the source; `synthetic_crops` and `synthetic_tokens` make its batches."""
  if path is not None:
    raise DataError(f"data.path: data.source={NAME} reads nothing, got {path!r}")
  return Synthetic()


def synthetic_crops(
  *,
  crop_samples: int,
  batch_size: int,
  seed: int,
  shard_index: int = 0,
  shard_count: int = 1,
) -> grain.IterDataset:
  """Returns endless batches of white noise, with the fields of `crops.crops`."""

  def make(rng):
    shape = (batch_size, crop_samples)
    return {
      "audio_BxN": 0.1 * rng.standard_normal(shape, np.float32),
      "length_B": np.full(batch_size, crop_samples, np.int32),
    }

  return _endless(make, batch_size, seed, shard_index, shard_count)


def synthetic_tokens(
  *,
  frames: int,
  num_codebooks: int,
  codebook_size: int,
  num_semantic: int,
  batch_size: int,
  seed: int,
  shard_index: int = 0,
  shard_count: int = 1,
) -> grain.IterDataset:
  """Returns endless batches of random tokens, with the fields of `token_batches`."""

  def make(rng):
    shape = (batch_size, frames)
    codes_BxTxK = rng.integers(codebook_size, size=(*shape, num_codebooks))
    return {
      "codes_BxTxK": codes_BxTxK.astype(np.int32),
      "semantic_BxT": rng.integers(num_semantic, size=shape).astype(np.int32),
      "mask_BxT": np.ones(shape, bool),
    }

  return _endless(make, batch_size, seed, shard_index, shard_count)


def _endless(
  make: Callable[[np.random.Generator], dict[str, np.ndarray]],
  batch_size: int,
  seed: int,
  shard_index: int,
  shard_count: int,
) -> grain.IterDataset:
  rng = np.random.default_rng((seed, shard_index))
  rows = np.arange(shard_index, batch_size * shard_count, shard_count, dtype=np.int32)
  batches = [
    {**make(rng), "index_B": number * batch_size * shard_count + rows}
    for number in range(_POOL)
  ]
  return grain.MapDataset.source(batches).repeat().to_iter_dataset()
