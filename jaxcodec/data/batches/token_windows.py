"""Batches of token windows from a token file, for training and for evaluation."""

import functools
from collections.abc import Sequence

import grain
import numpy as np

from jaxcodec.data.batches import grain_options
from jaxcodec.data.source import DataError
from jaxcodec.data.token_store import TokenSource


def token_batches(
  source: TokenSource,
  indices: Sequence[int] | None = None,
  *,
  batch_size: int,
  frames: int,
  seed: int,
  shard_index: int = 0,
  shard_count: int = 1,
) -> grain.IterDataset:
  """Returns endless shuffled batches of random windows of `frames` frames.

  A record is drawn once an epoch for each whole window that fits into it, and at least
  once; shorter ones are padded. See `grain_options.endless` for shards and resuming.

  Returns:
    Batches {codes_BxTxK int32, semantic_BxT int32, mask_BxT bool, index_B int32}; codes
    and semantic tokens are 0 where the mask is False.
  """
  indices = _indices(source, indices)
  draws = [
    index
    for index in indices
    for _ in range(max(1, source.labels[index]["frames"] // frames))
  ]

  def load(index, rng):
    spare = source.labels[index]["frames"] - frames
    return _window(source, index, rng.integers(max(1, spare + 1)), frames)

  return grain_options.endless(
    draws,
    load,
    functools.partial(_collate, frames=frames, codebooks=source.num_codebooks),
    batch_size=batch_size,
    seed=seed,
    shard_index=shard_index,
    shard_count=shard_count,
  )


def eval_token_batches(
  source: TokenSource,
  indices: Sequence[int] | None = None,
  *,
  batch_size: int,
  frames: int,
  shard_index: int = 0,
  shard_count: int = 1,
) -> grain.IterDataset:
  """Returns one pass over the first `frames` frames of each record, always the same.

  Rows that fill up the last batch are masked out and have index -1.
  """
  return grain_options.one_pass(
    _indices(source, indices),
    lambda index: _window(source, index, 0, frames),
    functools.partial(_collate, frames=frames, codebooks=source.num_codebooks),
    batch_size=batch_size,
    shard_index=shard_index,
    shard_count=shard_count,
  )


def _indices(source, indices):
  indices = range(len(source)) if indices is None else indices
  if not len(indices):
    raise DataError(f"{source.path}: no records are selected")
  return indices


def _window(source, index, start, frames):
  if index < 0:
    return np.zeros((0, source.num_codebooks)), np.zeros(0), index
  record = source[index]
  window = slice(start, start + frames)
  return record["codes_TxK"][window], record["semantic_T"][window], index


def _collate(windows, *, frames, codebooks):
  batch = len(windows)
  codes_BxTxK = np.zeros((batch, frames, codebooks), np.int32)
  semantic_BxT = np.zeros((batch, frames), np.int32)
  mask_BxT = np.zeros((batch, frames), bool)
  for row, (codes_TxK, semantic_T, _) in enumerate(windows):
    codes_BxTxK[row, : len(codes_TxK)] = codes_TxK
    semantic_BxT[row, : len(semantic_T)] = semantic_T
    mask_BxT[row, : len(codes_TxK)] = True
  return {
    "codes_BxTxK": codes_BxTxK,
    "semantic_BxT": semantic_BxT,
    "mask_BxT": mask_BxT,
    "index_B": np.array([index for *_, index in windows], np.int32),
  }
