"""The offline corpus: sentences of our own, spoken on first use and kept on disk."""

import contextlib
import fcntl
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import soundfile
from absl import logging

from jaxcodec import files
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import AudioFile
from jaxcodec.data.sources.checked import DEFAULT_CACHE_BYTES, CheckedSource, in_threads
from jaxcodec.data.sources.folder import read_recording
from jaxcodec.data.sources.scripts import list_utterances
from jaxcodec.data.sources.voices import VOICES, load_model, speak

NUM_VOICES = 4
RMS_DBFS, MAX_PEAK = -23.0, 0.9
MARGIN_SECONDS, SILENCE_DB = 0.1, -40.0
_VOICES = {voice.name: voice for voice in VOICES}


def open_embedded(
  path: str | None = None,
  *,
  sample_rate: int,
  on_error: str = "raise",
  script: str = "open",
  max_utterances: int | None = None,
  voices: int = NUM_VOICES,
  cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> CheckedSource:
  """Opens read English speech, which is made on first use.

  Args:
    path: must be None.
    sample_rate: see `open_source`.
    on_error: nothing to skip here: a broken file is spoken again.
    script: what is said: `sentences`, the written ones, by every voice; `open`, those
      and 13,566 drawn ones, by one voice each; or `matrix`, see `matrix.py`.
    max_utterances: only the first ones; all voices occur once there are as many. None
      for all of `sentences` and 3,200 of the others.
    voices: how many speak, at most 8.
    cache_bytes: memory for decoded audio.

  Raises:
    DataError: bad settings, or hibari-tts is not installed.
  """
  if path:
    raise DataError(
      f"data.path is {path!r}, but data.source='embedded' reads no folder;"
      " set data.source='folder'"
    )
  if max_utterances is not None and max_utterances < 1:
    raise DataError(
      f"data.options.max_utterances must be positive, got {max_utterances}"
    )
  if not 1 <= voices <= len(VOICES):
    raise DataError(f"data.options.voices must be 1 to {len(VOICES)}, got {voices}")
  utterances = list_utterances(script, voices, max_utterances)
  _speak(utterances, lambda utterance: not utterance.path.exists())

  def open_checked():
    return CheckedSource(
      "the embedded corpus",
      utterances,
      read_recording,
      sample_rate=sample_rate,
      on_error="raise",
      cache_bytes=cache_bytes,
    )

  try:
    return open_checked()
  except DataError as error:
    logging.warning("Repairing the embedded corpus: %s", error)
    _speak(utterances, _is_broken)
    return open_checked()


def master(audio_N: np.ndarray, rate: int) -> np.ndarray:
  """Trims the ends to 0.1 s of silence and sets the level to -23 dBFS RMS."""
  frame = rate // 100
  power = np.square(audio_N[: len(audio_N) // frame * frame]).reshape(-1, frame).mean(1)
  loud = np.flatnonzero(power > power.max() * 10 ** (SILENCE_DB / 10))
  margin = int(MARGIN_SECONDS * rate)
  start = max(0, loud[0] * frame - margin)
  audio_N = audio_N[start : (loud[-1] + 1) * frame + margin]
  gain = 10 ** (RMS_DBFS / 20) / np.sqrt(np.mean(np.square(audio_N)))
  return audio_N * min(gain, MAX_PEAK / np.max(np.abs(audio_N)))


def _speak(
  utterances: Sequence[AudioFile], is_needed: Callable[[AudioFile], bool]
) -> None:
  """Speaks what is needed; a second process waits and then finds it done."""
  needed = list(filter(is_needed, utterances))
  if needed:
    load_model()
  for folder in sorted({utterance.path.parent for utterance in needed}):
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / ".lock"):
      here = [u for u in needed if u.path.parent == folder and is_needed(u)]
      logging.info("Speaking %d sentences into %s", len(here), folder)
      in_threads(_write, here)


def _is_broken(utterance: AudioFile) -> bool:
  try:
    read_recording(utterance)
  except DataError:
    return True
  return False


def _write(utterance: AudioFile) -> None:
  audio_N, rate = speak(utterance.text, _VOICES[utterance.speaker])
  with files.replacing(utterance.path) as part:
    soundfile.write(part, master(audio_N, rate), rate, format="FLAC", subtype="PCM_16")


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
  with open(path, "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
