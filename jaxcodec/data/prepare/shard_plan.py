"""Assigns recordings to shards, the same ones for any number of processes."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Sequence

from jaxcodec.data.source import DataError
from jaxcodec.data.sources import libri
from jaxcodec.data.sources.audio_file import AudioFile, Problems, problem


@dataclasses.dataclass(frozen=True)
class ShardPlan:
  """A shard to write.

  Attributes:
    split: of the set.
    index: of the shard in its split.
    count: of the split's shards.
    items: the recordings, in order.
  """

  split: str
  index: int
  count: int
  items: tuple[AudioFile, ...]

  @property
  def label(self) -> str:
    """Name of the shard in its set."""
    return f"{self.split}-{self.index:05d}"

  def file(self, name: str) -> str:
    """Returns TFDS's file name of the shard in the set `name`."""
    return f"{name}-{self.split}.array_record-{self.index:05d}-of-{self.count:05d}"

  def inputs(self, root: pathlib.Path, has_text: bool) -> str:
    """Returns a hash of what its bytes depend on; files by size and time of change.

    Without a text its examples differ by whether the set has any.
    """
    total = hashlib.sha256(repr(has_text).encode())
    for item in self.items:
      try:
        stat = item.path.stat()
        version = (stat.st_size, stat.st_mtime_ns)
      except OSError:
        version = None  # written down as a failure once it is read
      path = item.path.relative_to(root).as_posix()
      total.update(repr((item.id, item.speaker, item.text, path, version)).encode())
    return total.hexdigest()


def by_split(
  items: Iterable[AudioFile], root: pathlib.Path
) -> dict[str, list[AudioFile]]:
  """Returns the items of each split, in the order of their ids' hashes, like TFDS.

  Top folders that are named like subsets are the splits (`train-clean-100` becomes
  `train_clean_100`, as in TFDS's catalogue); without such folders all is `train`.

  Raises:
    DataError: some folders at the top are subsets and others are not.
  """
  places = {item: item.path.relative_to(root).parts for item in items}
  tops = {item: parts[0] if len(parts) > 1 else "" for item, parts in places.items()}
  subsets = {top for top in tops.values() if libri.is_subset(top)}
  if subsets and (others := set(tops.values()) - subsets):
    other = sorted(others)[0] or "a file"
    raise DataError(
      f"{root}: {sorted(subsets)[0]} is a split, but {other} beside it is not: build"
      " from folders of the same kind"
    )
  splits: dict[str, list[AudioFile]] = {}
  for item in sorted(tops, key=lambda item: hashlib.sha256(item.id.encode()).digest()):
    name = tops[item].replace("-", "_") if subsets else "train"
    splits.setdefault(name, []).append(item)
  return dict(sorted(splits.items()))


def listing(splits: dict[str, list[AudioFile]], root: pathlib.Path) -> str:
  """Returns a hash of the recordings' ids and where below `root` they are."""
  total = hashlib.sha256()
  for split, items in splits.items():
    for item in items:
      path = item.path.relative_to(root).as_posix()
      total.update(repr((split, item.id, path)).encode())
  return total.hexdigest()


def shard_lengths(items: Sequence[AudioFile], max_bytes: int) -> list[int]:
  """Returns how many items, in order, each shard takes: up to `max_bytes` of files."""
  lengths, size = [0], 0
  for item in items:
    own = item.path.stat().st_size if item.path.is_file() else 0
    if lengths[-1] and size + own > max_bytes:
      lengths.append(0)
      size = 0
    lengths[-1] += 1
    size += own
  return lengths


def make_shards(
  splits: dict[str, list[AudioFile]], lengths: dict[str, list[int]]
) -> list[ShardPlan]:
  """Returns the shards of all splits, given the numbers of items in each."""
  shards = []
  for split, items in splits.items():
    start = 0
    for index, length in enumerate(lengths[split]):
      part = tuple(items[start : start + length])
      shards.append(ShardPlan(split, index, len(lengths[split]), part))
      start += length
  return shards


def unique(items: Iterable[AudioFile]) -> tuple[list[AudioFile], Problems]:
  """Drops items whose id an earlier one has; returns the rest and the problems."""
  seen: dict[str, AudioFile] = {}
  problems = []
  for item in items:
    if item.id in seen:
      reason = f"{item}: has the same id {item.id!r} as {seen[item.id]}"
      problems.append(problem(item, reason))
    else:
      seen[item.id] = item
  return list(seen.values()), problems
