"""Phones of recordings, from Praat's TextGrids."""

import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxcodec.data import extras
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.tree import list_files, same_letters

SUFFIX = ".TextGrid"
SILENCE = "sil"
# What aligners write where nobody speaks.
_SILENT = ("", "sil", "sp", "<eps>", "<sil>", "#", "_")


class Interval(NamedTuple):
  """A labelled part of a recording, seconds."""

  start: float
  end: float
  label: str


def find_alignments(folder: str | pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the TextGrids anywhere in a folder by their names without suffix.

  Raises:
    DataError: there is none, or two have one name.
  """
  root, found = pathlib.Path(folder), {}
  if not root.is_dir():
    raise DataError(f"{root}: there is no such folder of alignments")
  for path in list_files(root):
    if path.suffix.lower() == SUFFIX.lower():
      other = found.setdefault(same_letters(path.stem), path)
      if other != path:
        raise DataError(f"{path} and {other}: which is of the recording {path.stem}?")
  if not found:
    raise DataError(f"{root}: no {SUFFIX} file anywhere in it")
  return found


def name_of(utterance_id: str) -> str:
  """Returns the name that an utterance's TextGrid has, of an id that may be a path."""
  last = utterance_id.rpartition("/")[2]
  return same_letters(last)


def read_intervals(path: pathlib.Path, tier: str = "phones") -> list[Interval]:
  """Reads a tier of intervals, gaps included, in any of Praat's text formats.

  Raises:
    DataError: naming the file, which can't be read or has no such tier.
  """
  needs = dict(field=str(path), extra="alignments")
  (textgrid,) = extras.import_modules("praatio", "praatio.textgrid", **needs)
  try:
    grid = textgrid.openTextgrid(str(path), True, reportingMode="silence")
    tiers = {name: grid.getTier(name).entries for name in grid.tierNames}
    found = [Interval(*entry) for entry in tiers.get(tier, ())]
  except Exception as error:  # the parser raises whatever the content leads to
    raise DataError(f"{path}: is no TextGrid that can be read: {error!r}") from error
  if tier not in tiers:
    raise DataError(f"{path}: has no tier {tier!r}, but {sorted(tiers)}")
  if not found:
    raise DataError(f"{path}: its tier {tier!r} is empty")
  if any(not a.end <= b.end for a, b in itertools.pairwise(found)):
    raise DataError(f"{path}: intervals of its tier {tier!r} are out of order")
  return found


def plain_phone(label: str) -> str:
  """Returns a phone without its stress, and one name for every kind of silence."""
  label = label.strip()
  if label.lower() in _SILENT:
    return SILENCE
  return label.rstrip("012") or label


def frame_labels(
  intervals: Sequence[Interval], frames: int, frame_rate: float
) -> list[str]:
  """Returns the label at the middle of each frame; the last one's beyond the end.

  Args:
    intervals: in order, without gaps.
    frames: how many.
    frame_rate: Hz.
  """
  middle_T = (np.arange(frames) + 0.5) / frame_rate
  ends = [interval.end for interval in intervals]
  at_T = np.minimum(np.searchsorted(ends, middle_T, side="right"), len(ends) - 1)
  return [intervals[at].label for at in at_T]


def numbered(labels: Iterable[Sequence[str]]) -> tuple[list[np.ndarray], list[str]]:
  """Returns sequences of labels as integers, and the labels in their order."""
  labels = [list(sequence) for sequence in labels]
  known = sorted({label for sequence in labels for label in sequence})
  index = {label: number for number, label in enumerate(known)}
  return [np.array([index[x] for x in one], np.int64) for one in labels], known
