"""Batches of audio crops from a source, for training and for evaluation."""

import functools
from collections.abc import Sequence

import grain
import numpy as np

from jaxcodec.data.batches import grain_options
from jaxcodec.data.batches.workers import WorkerBatches
from jaxcodec.data.source import DataError, Source


def crops(
  source: Source,
  indices: Sequence[int],
  *,
  sample_rate: int,
  crop_samples: int,
  batch_size: int,
  seed: int,
  shard_index: int = 0,
  shard_count: int = 1,
  workers: int = 0,
) -> grain.IterDataset | WorkerBatches:
  """Endless shuffled batches of random crops.

  In an epoch an utterance is drawn once for each whole crop that fits into it, so all
  parts of the corpus are heard about equally often. See `reading.endless` for how
  shards and resuming behave.

  Args:
    source: where the audio comes from.
    indices: into `source.utterances`.
    sample_rate: of the crops, Hz.
    crop_samples: N.
    batch_size: B, of this shard.
    seed: of order and crops.
    shard_index: this process, below `shard_count`.
    shard_count: processes that train.
    workers: processes that each of those has to load audio, 0 for none.

  Returns:
    Batches {audio_BxN float32, length_B int32 valid samples, index_B int32}.

  Raises:
    DataError: no utterance, or one that is shorter than a crop.
  """
  long_enough(source, indices, sample_rate=sample_rate, crop_samples=crop_samples)
  draws = [
    index
    for index in indices
    for _ in range(max(1, _num_samples(source, index, sample_rate) // crop_samples))
  ]

  def load(index, rng):
    audio_N = source.audio(index, sample_rate)
    start = rng.integers(max(1, len(audio_N) - crop_samples + 1))
    return audio_N[start : start + crop_samples], index

  return grain_options.endless(
    draws,
    load,
    functools.partial(_collate, crop_samples=crop_samples),
    batch_size=batch_size,
    seed=seed,
    shard_index=shard_index,
    shard_count=shard_count,
    workers=workers,
  )


def eval_crops(
  source: Source,
  indices: Sequence[int],
  *,
  sample_rate: int,
  crop_samples: int,
  batch_size: int,
  shard_index: int = 0,
  shard_count: int = 1,
) -> grain.IterDataset:
  """One pass over the middle of each utterance, always the same.

  Batches as from `crops`; short utterances are padded, and rows that only fill up the
  last batch have length 0 and index -1.
  """

  def load(index):
    if index < 0:
      return np.zeros(0, np.float32), index
    audio_N = source.audio(index, sample_rate)
    start = max(0, (len(audio_N) - crop_samples) // 2)
    return audio_N[start : start + crop_samples], index

  return grain_options.one_pass(
    indices,
    load,
    functools.partial(_collate, crop_samples=crop_samples),
    batch_size=batch_size,
    shard_index=shard_index,
    shard_count=shard_count,
  )


def long_enough(
  source: Source,
  indices: Sequence[int],
  *,
  sample_rate: int,
  crop_samples: int,
  on_error: str = "raise",
) -> tuple[list[int], list[dict[str, str]]]:
  """The indices whose utterances fill a crop, and those left out, as in `skipped`.

  Raises:
    DataError: nothing is left, or (`raise`) an utterance is shorter than a crop.
  """
  kept, skipped = [], []
  for index in indices:
    if (samples := _num_samples(source, index, sample_rate)) >= crop_samples:
      kept.append(index)
    else:
      reason = f"{samples / sample_rate:.3f} s"
      skipped.append({"item": source.utterances[index].id, "reason": reason})
  wanted = f"the crop of {crop_samples / sample_rate:.3f} s"
  skipped = [
    {**short, "reason": f"{short['item']}: {short['reason']} is shorter than {wanted}"}
    for short in skipped
  ]
  if skipped and on_error == "raise":
    some = "; ".join(short["reason"] for short in skipped[:5])
    raise DataError(
      f"{len(skipped)} of {len(indices)} utterances are too short: {some}."
      " Use shorter crops, or data.on_error='skip'"
    )
  if not kept:
    raise DataError(f"none of {len(indices)} utterances fills {wanted}")
  return kept, skipped


def _num_samples(source, index, sample_rate):
  return round(source.utterances[index].seconds * sample_rate)


def _collate(clips, *, crop_samples):
  audio_BxN = np.zeros((len(clips), crop_samples), np.float32)
  for row, (audio_N, _) in zip(audio_BxN, clips, strict=True):
    row[: len(audio_N)] = audio_N
  return {
    "audio_BxN": audio_BxN,
    "length_B": np.array([len(audio_N) for audio_N, _ in clips], np.int32),
    "index_B": np.array([index for _, index in clips], np.int32),
  }
