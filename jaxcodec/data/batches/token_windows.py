"""Batches of token windows from a token file, for training and for evaluation."""

import collections
import functools
from collections.abc import Sequence

import grain
import numpy as np

from jaxcodec.data.batches import grain_options
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import UNKNOWN_SPEAKER
from jaxcodec.data.token_store import TokenSource


def token_batches(
  source: TokenSource,
  indices: Sequence[int] | None = None,
  *,
  batch_size: int,
  frames: int,
  seed: int,
  fill: bool = False,
  shard_index: int = 0,
  shard_count: int = 1,
) -> grain.IterDataset:
  """Returns endless shuffled batches of random windows of `frames` frames.

  A record is drawn once an epoch for each whole window that fits into it, and at least
  once; shorter ones are padded. See `grain_options.endless` for shards and resuming.

  Args:
    source: the token file.
    indices: of its records; None for all.
    batch_size: windows in a batch of this process.
    frames: of a window.
    seed: of the order and of the windows.
    fill: whether what a short record leaves open is filled with others of its speaker,
      drawn at random, the last one cut. A model then learns to go on behind a prompt
      from another recording, and nothing is computed for padding.
    shard_index: this process, below `shard_count`.
    shard_count: processes that train.

  Returns:
    Batches {codes_BxTxK int32, semantic_BxT int32, mask_BxT bool, index_B int32}; codes
    and semantic tokens are 0 where the mask is False. The index is the first record's.
  """
  indices = _indices(source, indices)
  draws = [
    index
    for index in indices
    for _ in range(max(1, source.labels[index]["frames"] // frames))
  ]

  same_voice = _by_speaker(source, indices) if fill else {}

  def load(index, rng):
    label = source.labels[index]
    start = rng.integers(max(1, label["frames"] - frames + 1))
    window = _window(source, index, start, frames)
    others = same_voice.get(label["speaker"], ())
    return _filled(source, window, others, rng, frames) if others else window

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


def _by_speaker(source, indices):
  """Returns the records of each speaker who has several and is known."""
  speakers = collections.defaultdict(list)
  for index in indices:
    speakers[source.labels[index]["speaker"]].append(index)
  speakers.pop(UNKNOWN_SPEAKER, None)
  return {name: own for name, own in speakers.items() if len(own) > 1}


def _filled(source, window, others, rng, frames):
  """Returns a window with the beginnings of others behind it, until it is full."""
  windows, left = [window], frames - len(window[0])
  while left > 0:
    windows.append(_window(source, others[rng.integers(len(others))], 0, left))
    left -= len(windows[-1][0])
  codes, semantic, indices = zip(*windows, strict=True)
  return np.concatenate(codes), np.concatenate(semantic), indices[0]


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
