"""The offline corpus: sentences of our own, spoken on first use and kept on disk."""

import contextlib
import fcntl
import importlib.resources
import pathlib

import numpy as np
import soundfile
from absl import logging

from jaxcodec import files
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.checked import DEFAULT_CACHE_BYTES, CheckedSource, in_threads
from jaxcodec.data.sources.folder import load_item
from jaxcodec.data.sources.recording import Item
from jaxcodec.data.sources.voices import VOICES, speak

# Part of the folder's name: raise it whenever the same id would sound different.
VERSION = 1
RMS_DBFS, MAX_PEAK = -23.0, 0.9
MARGIN_SECONDS, SILENCE_DB = 0.1, -40.0
_VOICES = {voice.name: voice for voice in VOICES}


def open_embedded(
  path: str | None = None,
  *,
  sample_rate: int,
  on_error: str = "raise",
  max_utterances: int | None = None,
  cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> CheckedSource:
  """Read English speech of four voices, 25 minutes; made in about two on two cores.

  Args:
    path: must be None.
    sample_rate: see `open_source`.
    on_error: nothing to skip here: a broken file is spoken again.
    max_utterances: only the first ones; all voices occur from four on.
    cache_bytes: memory for decoded audio.

  Raises:
    DataError: bad settings, or the synthesiser is not installed.
  """
  if path:
    raise DataError(
      f"data.path is {path!r}, but data.source='embedded' reads no folder;"
      " set data.source='folder'"
    )
  if max_utterances is not None and max_utterances < 1:
    raise DataError(f"data.max_utterances must be positive, got {max_utterances}")
  folder = cache_folder()
  items = script(folder)[:max_utterances]
  _speak(folder, items, lambda item: not item.path.exists())

  def checked():
    return CheckedSource(
      "the embedded corpus",
      items,
      load_item,
      sample_rate=sample_rate,
      on_error="raise",
      cache_bytes=cache_bytes,
    )

  try:
    return checked()
  except DataError as error:
    logging.warning("Repairing the embedded corpus: %s", error)
    _speak(folder, items, _is_broken)
    return checked()


def cache_folder() -> pathlib.Path:
  """Where the spoken corpus is kept: below `JAXCODEC_CACHE` or `~/.cache/jaxcodec`."""
  return files.cache_folder() / f"embedded-v{VERSION}"


def script(folder: pathlib.Path) -> list[Item]:
  """Who says what: every sentence once, every third one by a second voice too."""
  lines = importlib.resources.files(__package__).joinpath("sentences.txt")
  sentences = lines.read_text(encoding="utf-8").splitlines()
  once = list(enumerate(sentences))
  parts = [(line, 0, text) for line, text in once]
  parts += [(line, 1 + line // 3 % 3, text) for line, text in once[::3]]
  return [
    _item(folder, VOICES[(line + shift) % len(VOICES)].name, line, text)
    for line, shift, text in parts
  ]


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


def _item(folder, speaker, line, text):
  key = f"{speaker}-{line + 1:03d}"
  return Item(folder / f"{key}.flac", key, speaker, text)


def _speak(folder, items, needed):
  """Speaks the `needed` items; a second process waits and then finds them done."""
  if not any(map(needed, items)):
    return
  folder.mkdir(parents=True, exist_ok=True)
  with _lock(folder / ".lock"):
    items = [item for item in items if needed(item)]
    logging.info("Speaking %d sentences into %s", len(items), folder)
    in_threads(_write, items)


def _is_broken(item):
  try:
    load_item(item)
  except DataError:
    return True
  return False


def _write(item):
  audio_N, rate = speak(item.text, _VOICES[item.speaker])
  with files.replacing(item.path) as part:
    soundfile.write(part, master(audio_N, rate), rate, format="FLAC", subtype="PCM_16")


@contextlib.contextmanager
def _lock(path):
  with open(path, "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
