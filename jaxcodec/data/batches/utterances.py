"""Batches of whole utterances with their texts, of limited numbers of frames."""

from collections.abc import Sequence

import grain
import numpy as np

from jaxcodec.data.batches import grain_options
from jaxcodec.data.batches.length_buckets import Bucket, Plan
from jaxcodec.data.source import DataError
from jaxcodec.data.text.vocabulary import wrapped
from jaxcodec.data.token_store import TokenSource

_PROMPT = ("prompt_symbols", "prompt_frames")


def utterance_batches(
  source: TokenSource,
  buckets: Sequence[Bucket],
  *,
  seed: int,
  repeat: bool = True,
  shard_index: int = 0,
  shard_count: int = 1,
) -> grain.IterDataset:
  """Returns shuffled batches of whole utterances, each once an epoch.

  Args:
    source: what the buckets were made from.
    buckets: from `make_buckets`.
    seed: of the order, which is another one in every epoch.
    repeat: whether to go on without end; otherwise (for evaluation) one pass, always
      the same.
    shard_index: this process, below `shard_count`.
    shard_count: processes that train. Each gets its rows of every batch, so that all
      run the same shape at the same time.

  Returns:
    Batches {codes_BxTxK int32, semantic_BxT int32, mask_BxT bool, text_BxS int32,
    text_mask_BxS bool, index_B, prompt_symbols_B, prompt_frames_B int32}. Texts stand
    between begin and end. Where a mask is False there are zeros. The last two say how
    much of a row is read before it, see `Continuations`; 0 of a record that is alone.
    Rows that fill a batch up have index -1, no frames and the empty text.

  Raises:
    DataError: the shards cannot share the batches' rows.
  """
  if any(bucket.rows % shard_count for bucket in buckets):
    rows = [bucket.rows for bucket in buckets]
    raise DataError(f"{shard_count} processes cannot share batches of {rows} rows")
  plan = Plan(buckets, seed)

  def load(number):
    bucket, index_B = plan[number]
    return _batch(source, bucket, np.split(index_B, shard_count)[shard_index])

  return grain_options.numbered(len(plan), load, repeat=repeat)


def _batch(source, bucket, index_B):
  nothing = {
    "codes_TxK": np.zeros((0, source.num_codebooks)),
    "semantic_T": np.zeros(0),
    "text_S": np.zeros(0),
  }
  records = [source[i] if i >= 0 else nothing for i in index_B.tolist()]
  texts = [wrapped(record["text_S"]) for record in records]
  codes_BxTxK, mask_BxT = _pad([r["codes_TxK"] for r in records], bucket.frames)
  semantic_BxT, _ = _pad([r["semantic_T"] for r in records], bucket.frames)
  text_BxS, text_mask_BxS = _pad(texts, bucket.symbols + len(wrapped()))
  return {
    "codes_BxTxK": codes_BxTxK,
    "semantic_BxT": semantic_BxT,
    "mask_BxT": mask_BxT,
    "text_BxS": text_BxS,
    "text_mask_BxS": text_mask_BxS,
    "index_B": index_B.astype(np.int32),
    **{f"{name}_B": _numbers(records, name) for name in _PROMPT},
  }


def _numbers(records, name):
  return np.array([record.get(name, 0) for record in records], np.int32)


def _pad(arrays, length):
  """Pads arrays with zeros to one int32 array; returns it and the mask of values."""
  stacked = np.zeros((len(arrays), length, *arrays[0].shape[1:]), np.int32)
  mask = np.zeros((len(arrays), length), bool)
  for row, array in enumerate(arrays):
    stacked[row, : len(array)] = array
    mask[row, : len(array)] = True
  return stacked, mask
