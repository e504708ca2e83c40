"""Finds the same sentences by every system among the finished cells' sound files."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxcodec.evals.workdir import SET_OF_KIND, UtteranceResults, read_workdir
from jaxcodec.study.grid import Cell

ORIGINAL = "original"


class Clip(NamedTuple):
  """One system's rendering of a sentence.

  Attributes:
    system: name of the system, or ORIGINAL.
    path: its wav file.
    heard: the recogniser's transcript; None without one.
  """

  system: str
  path: pathlib.Path
  heard: str | None


class Sentence(NamedTuple):
  """A sentence with its renderings, the original first."""

  id: str
  text: str | None
  clips: list[Clip]


def read_sentences(
  cells: Sequence[Cell], *, sentences: int = 6, originals: bool = True
) -> list[Sentence]:
  """Returns sentences of the finished cells with a language model, of the lowest seed.

  Args:
    cells: those that are done.
    sentences: how many at most; those with the most renderings come first.
    originals: whether to include the recordings.
  """
  users = [cell for cell in cells if cell.design]
  seed = min(cell.seed for cell in users)
  found: dict[str, Sentence] = {}
  for cell in users:
    if cell.seed == seed:
      for utterance in read_workdir(cell.workdir).utterances:
        about = utterance.about
        sentence = found.setdefault(
          utterance.id, Sentence(utterance.id, about.get("text"), [])
        )
        known = {clip.system for clip in sentence.clips}
        sentence.clips.extend(
          clip
          for clip in _clips(cell, utterance)
          if clip.system not in known and (originals or clip.system != ORIGINAL)
        )
  ordered = sorted(found.values(), key=lambda sentence: -len(sentence.clips))
  return [
    sentence._replace(clips=sorted(sentence.clips, key=lambda c: c.system != ORIGINAL))
    for sentence in ordered[:sentences]
  ]


def _clips(cell: Cell, utterance: UtteranceResults) -> Iterator[Clip]:
  names = {
    "original": ORIGINAL,
    "reconstruction": f"{cell.codec}, reconstructed",
    "generated": f"{cell.codec}, {cell.slm}",
  }
  for kind, path in utterance.sounds.items():
    row: Mapping[str, Any] = utterance.rows.get(SET_OF_KIND[kind], {})
    yield Clip(names[kind], path, row.get("transcript"))
