"""The listening section of the study's report: all clips are equally loud."""

from collections.abc import Sequence

import numpy as np
import soundfile

from jaxcodec.evals.audio import loudness_dbfs
from jaxcodec.evals.metrics.spectrum import log_mel
from jaxcodec.report import players
from jaxcodec.study.sentences import Clip, Sentence

LEVEL_DBFS = -26.0


def make_articles(sentences: Sequence[Sentence]) -> list[players.Article]:
  """Returns the first sentences, as many as fit in the page."""
  return players.take_fitting(map(_article, sentences), players.MAX_CHARACTERS)


def _article(sentence: Sentence) -> players.Article:
  columns = [_column(sentence, clip) for clip in sentence.clips]
  return players.Article(sentence.id, "", sentence.text or "", columns)


def _column(sentence: Sentence, clip: Clip) -> players.Column:
  audio_N, rate = soundfile.read(clip.path, dtype="float32")
  audio_N = set_level(audio_N)
  peak = float(log_mel(audio_N, rate).max())
  label = f"{clip.system}, {sentence.id}"
  player = players.make_player(audio_N, rate, label, peak=peak)
  return players.Column(clip.system, player, clip.heard or None)


def set_level(audio_N: np.ndarray) -> np.ndarray:
  """Scales a clip to LEVEL_DBFS, or as near to it as its peaks allow; keeps silence."""
  peak = float(np.abs(audio_N).max(initial=0.0))
  if peak == 0.0:
    return audio_N
  gain = 10 ** ((LEVEL_DBFS - loudness_dbfs(audio_N)) / 20)
  return audio_N * np.float32(min(gain, 0.99 / peak))
