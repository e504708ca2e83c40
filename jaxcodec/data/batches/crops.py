"""Batches of audio crops from a source, for training and for evaluation."""

import dataclasses
import functools
import logging
from collections.abc import Sequence

import grain
import numpy as np

from jaxcodec.data.batches import grain_options
from jaxcodec.data.batches.workers import WorkerBatches
from jaxcodec.data.source import DataError, Source

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 20  # utterances that may be lost in succession


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
  """Returns endless shuffled batches of random crops.

  What can't be read any more, though it was when the source was opened, is an error, or
  with `on_error=skip` is logged, and a crop of another utterance takes its place.

  In an epoch an utterance is drawn once for each whole crop that fits into it, so that
  all parts of the corpus occur about equally often. See `grain_options.endless` for
  how shards and resuming behave.

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
  times = [
    max(1, _num_samples(source, index, sample_rate) // crop_samples)
    for index in indices
  ]
  # Of a big corpus they are hundreds of millions, and go to every worker.
  draws = np.repeat(np.asarray(indices, np.int32), times)
  return grain_options.endless(
    draws,
    _Loader(source, sample_rate, crop_samples, others=tuple(indices)),
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
  """Returns one pass over the middle of each utterance, always the same.

  Batches as from `crops`; short utterances are padded, and rows that fill up the
  last batch have length 0 and index -1.
  """
  return grain_options.one_pass(
    indices,
    _Loader(source, sample_rate, crop_samples),
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
  """Parts the indices whose utterances fill a crop from those that don't.

  Returns:
    The former, and the latter as entries of `Source.skipped`.

  Raises:
    DataError: nothing is left, or (`raise`) an utterance is shorter than a crop.
  """
  wanted = f"the crop of {crop_samples / sample_rate:.3f} s"
  kept, skipped = [], []
  for index in indices:
    samples, name = (
      _num_samples(source, index, sample_rate),
      source.utterances[index].id,
    )
    if samples >= crop_samples:
      kept.append(index)
    else:
      seconds = f"{samples / sample_rate:.3f} s"
      reason = f"{name}: {seconds} is shorter than {wanted}"
      skipped.append({"item": name, "reason": reason})
  if skipped and on_error == "raise":
    some = "; ".join(short["reason"] for short in skipped[:5])
    raise DataError(
      f"{len(skipped)} of {len(indices)} utterances are too short: {some}."
      " Use shorter crops, or data.on_error='skip'"
    )
  if not kept:
    raise DataError(f"none of {len(indices)} utterances fills {wanted}")
  return kept, skipped


@dataclasses.dataclass(frozen=True)
class _Loader:
  """Reads an utterance and cuts out a crop, in the middle where there is no `rng`.

  Attributes:
    source, sample_rate, crop_samples: as `crops` has them.
    others: indices, of which one stands in for an utterance that can't be read again.
  """

  source: Source
  sample_rate: int
  crop_samples: int
  others: tuple[int, ...] = ()

  def __call__(self, index, rng=None):
    if index < 0:
      return np.zeros(0, np.float32), index
    audio_N, index = self._read(index, rng)
    spare = max(0, len(audio_N) - self.crop_samples)
    start = rng.integers(spare + 1) if rng else spare // 2
    return audio_N[start : start + self.crop_samples], index

  def _read(self, index, rng):
    for attempt in range(_ATTEMPTS):
      try:
        return self.source.audio(index, self.sample_rate), index
      except DataError as error:
        skips = getattr(self.source, "on_error", "raise") == "skip"
        if not (skips and self.others and rng) or attempt == _ATTEMPTS - 1:
          raise
        _LOG.warning("another utterance stands in for one that is lost: %s", error)
        index = self.others[rng.integers(len(self.others))]


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
