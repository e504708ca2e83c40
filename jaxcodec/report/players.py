"""Utterances to listen to: the same sentence by everyone who spoke it, side by side."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxcodec.report.figures import audio_uri, spectrogram
from jaxcodec.report.html import Picture

# Of all players in a page, which is to stay well below 25 MB.
MAX_CHARACTERS = 18_000_000


class Player(NamedTuple):
  """A sound as a data URI, and its picture."""

  label: str
  audio: str
  spectrogram: Picture


class Column(NamedTuple):
  """One system's rendering of a sentence.

  Attributes:
    title: who speaks.
    player: None where nothing was generated.
    heard: what the recogniser heard; None if it wasn't asked.
    notes: sentences below.
  """

  title: str
  player: Player | None
  heard: str | None
  notes: Sequence[str] = ()


class Article(NamedTuple):
  """A sentence with its columns; `speaker` and `text` are "" where unknown."""

  id: str
  speaker: str
  text: str
  columns: Sequence[Column]

  @property
  def characters(self) -> int:
    """How much its sounds and pictures add to the page."""
    players = [column.player for column in self.columns if column.player]
    return sum(len(p.audio) + len(p.spectrogram.source) for p in players)


def make_player(
  audio_N: np.ndarray, sample_rate: int, label: str, *, peak: float
) -> Player:
  """Embeds a sound with its spectrogram.

  Args:
    audio_N: float samples in [-1, 1].
    sample_rate: Hz.
    label: its name for screen readers.
    peak: the value of `log_mel` that is drawn brightest.
  """
  picture = Picture(
    spectrogram(audio_N, sample_rate, peak=peak), alt=f"Spectrogram: {label}"
  )
  return Player(label, audio_uri(audio_N, sample_rate), picture)


def take_fitting(articles: Iterable[Article], most: int) -> list[Article]:
  """Returns the first articles that fit in a page together, one at least.

  Args:
    articles: made one by one, so that those that don't fit cost nothing.
    most: their characters at most, e.g. `MAX_CHARACTERS`.
  """
  taken: list[Article] = []
  size = 0
  for article in articles:
    size += article.characters
    if size > most and taken:
      break
    taken.append(article)
  return taken
