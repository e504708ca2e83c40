"""A long text in pieces: in whose voice each is spoken, and the speech of them all."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxcodec.api.speech_model import Spoken
from jaxcodec.data.text import wrapped
from jaxcodec.inference import slm


class Voice(NamedTuple):
  """What a model speaks on from: symbols or semantic tokens, and codes, or nothing."""

  symbols_S: np.ndarray
  codes_TxK: np.ndarray | None

  def after(
    self, piece_S: np.ndarray, spoken: Spoken, frames: int | None = None
  ) -> "Voice":
    """Returns this voice, or, if there is none yet, that of a piece.

    A piece that says nothing, or babbled until it was cut, gives no voice.

    Args:
      piece_S: what was to be said.
      spoken: the speech.
      frames: the last ones to take of both, where they go together; None for all.
    """
    if self.codes_TxK is None and spoken.frames and spoken.ended:
      last = slice(None) if frames is None else slice(-frames, None)
      return Voice(piece_S[last], spoken.codes_TxK[last])
    return self


def job(
  voice: Voice, pieces: Sequence[np.ndarray], seed: int, place: int
) -> slm.SpeakJob:
  """Returns what to speak of a text at a place, each piece from a seed of its own."""
  text_S = wrapped(voice.symbols_S, pieces[place])
  seed = (seed + place) % 2**32
  return slm.SpeakJob(text_S, voice.codes_TxK, seed, len(voice.symbols_S))


def next_places(
  spoken: Sequence[Sequence[Spoken]],
  pieces: Sequence[Sequence[np.ndarray]],
  voices: Sequence[Voice],
) -> Iterator[tuple[int, int]]:
  """Yields (text, place) of the pieces that can be spoken now.

  These are all that are left of a text with a voice, and the next one of another.

  Args:
    spoken: of each text what was spoken already.
    pieces: of each text.
    voices: of each text.
  """
  for index, (done, own, voice) in enumerate(zip(spoken, pieces, voices, strict=True)):
    end = len(own) if voice.codes_TxK is not None else min(len(done) + 1, len(own))
    for place in range(len(done), end):
      yield index, place


def joined(pieces: Sequence[Spoken], frame_rate: float) -> Spoken:
  """Returns the speech of all pieces; its `problem` names those that have one."""
  codes_TxK = np.concatenate([piece.codes_TxK for piece in pieces])
  ended = all(piece.ended for piece in pieces)
  if len(pieces) == 1:
    return Spoken(codes_TxK, ended)
  problems = (
    f"piece {number} of {len(pieces)} {problem}"
    for number, piece in enumerate(pieces, start=1)
    if (problem := piece.describe_end(frame_rate))
  )
  return Spoken(codes_TxK, ended, problem="; ".join(problems) or None)
