"""The same sentences by every system, equally loud, with a blind comparison."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile

from jaxcodec.evals.audio import loudness_dbfs
from jaxcodec.evals.report.figures import audio_uri, spectrogram
from jaxcodec.evals.report.markup import figure, fragment, tag
from jaxcodec.evals.report.workdir import read_workdir
from jaxcodec.evals.spectrum import log_mel
from jaxcodec.study.grid import Cell

# Of the page, which is to stay below 25 MB.
MAX_CHARACTERS = 18_000_000
LEVEL_DBFS = -26.0
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


_SETS = {
  "original": "ground_truth",
  "reconstruction": "reconstruction",
  "generated": "generation",
}


def _clips(cell: Cell, utterance: Any) -> Iterator[Clip]:
  names = {
    "original": ORIGINAL,
    "reconstruction": f"{cell.codec}, reconstructed",
    "generated": f"{cell.codec}, {cell.slm}",
  }
  for kind, path in utterance.sounds.items():
    row: Mapping[str, Any] = utterance.rows.get(_SETS[kind], {})
    yield Clip(names[kind], path, row.get("transcript"))


def section(sentences: Sequence[Sentence]) -> str:
  """As many of the sentences as fit."""
  parts, size = [], 0
  for sentence in sentences:
    part = _sentence(sentence)
    size += len(part)
    if size > MAX_CHARACTERS and parts:
      break
    parts.append(part)
  note = (
    f"All clips have a level of {LEVEL_DBFS:.0f} dBFS (root mean square), less where"
    " that would clip. Spectrograms: the 80 dB below each clip's peak."
  )
  blind = (
    '<div id="blind"><button type="button" id="blind-next">Blind comparison: two'
    ' systems, names hidden</button><div id="blind-pair" hidden></div>'
    '<div id="blind-tally" aria-live="polite"></div></div>'
  )
  return tag("p", note) + blind + "\n".join(parts)


def _sentence(sentence: Sentence) -> str:
  columns = "".join(_column(sentence, clip) for clip in sentence.clips)
  text = tag("p", sentence.text, lang="en") if sentence.text else ""
  return (
    f'<article class="utterance" data-sentence="{fragment(sentence.id)}">'
    f'<h3>{fragment(sentence.id)}</h3>{text}<div class="trio">{columns}</div></article>'
  )


def _column(sentence: Sentence, clip: Clip) -> str:
  audio_N, rate = soundfile.read(clip.path, dtype="float32")
  audio_N = levelled(audio_N)
  label = f"{clip.system}, {sentence.id}"
  peak = float(log_mel(audio_N, rate).max())
  heard = f"<p>Heard: <q>{fragment(clip.heard)}</q></p>" if clip.heard else ""
  return (
    f"<div><h4>{fragment(clip.system)}</h4>"
    f'<audio controls preload="metadata" aria-label="{fragment(label)}"'
    f' data-system="{fragment(clip.system)}" src="{audio_uri(audio_N, rate)}"></audio>'
    + figure(spectrogram(audio_N, rate, peak=peak), alt=f"Spectrogram: {label}")
    + heard
    + "</div>"
  )


def levelled(audio_N: np.ndarray) -> np.ndarray:
  """The clip at LEVEL_DBFS, or as near to it as its peaks allow; silence as it is."""
  peak = float(np.abs(audio_N).max(initial=0.0))
  if peak == 0.0:
    return audio_N
  gain = 10 ** ((LEVEL_DBFS - loudness_dbfs(audio_N)) / 20)
  return audio_N * np.float32(min(gain, 0.99 / peak))
