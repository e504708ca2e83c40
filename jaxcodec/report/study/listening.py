"""The same sentences by every system, equally loud, with a blind comparison."""

from collections.abc import Sequence

import numpy as np
import soundfile

from jaxcodec.evals.audio import loudness_dbfs
from jaxcodec.evals.metrics.spectrum import log_mel
from jaxcodec.report.figures import audio_uri, spectrogram
from jaxcodec.report.markup import figure, fragment, tag
from jaxcodec.study.sentences import Clip, Sentence

# Of the page, which is to stay below 25 MB.
MAX_CHARACTERS = 18_000_000
LEVEL_DBFS = -26.0


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
