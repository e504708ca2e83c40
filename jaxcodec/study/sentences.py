"""The same sentences by every system, as sound files of the finished cells."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxcodec.evals.workdir import SET_OF_KIND, UtteranceResults, read_workdir
from jaxcodec.study.grid import Cell

ORIGINAL = "original"


class Clip(NamedTuple):
  """One system's rendering of a sentence.

  Attributes:
    system: who speaks.
    path: its wav file.
    heard: what the recogniser heard, if it was asked.
  """

  system: str
  path: pathlib.Path
  heard: str | None


class Sentence(NamedTuple):
  """A sentence with everything that spoke it, the original first."""

  id: str
  text: str | None
  clips: list[Clip]


def read_sentences(
  cells: Sequence[Cell], *, sentences: int = 6, originals: bool = True
) -> list[Sentence]:
  """Sentences of the finished cells with a language model, of the lowest seed.

  Args:
    cells: those that are done.
    sentences: how many; those first that the most systems speak.
    originals: whether the recordings are among the clips.
  """
  users = [cell for cell in cells if cell.slm]
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
