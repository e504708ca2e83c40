"""What the embedded corpora say, who says it, and where each is kept on disk."""

import dataclasses
import importlib.resources
import itertools
import pathlib
from collections.abc import Callable, Iterator

from jaxcodec import files
from jaxcodec.data.source import DataError
from jaxcodec.data.sources import matrix
from jaxcodec.data.sources.audio_file import AudioFile
from jaxcodec.data.sources.voices import VOICES

# The last part is the version: raise it whenever the same id would sound different.
FOLDERS = {
  "sentences": "embedded-v2",
  "open": "embedded-open-v1",
  "matrix": "embedded-matrix-v2",
}
# How many utterances there are, unless a config says, of a script that has many more.
DEFAULT_UTTERANCES = 3_200


def corpus_folder(script: str = "sentences") -> pathlib.Path:
  """Returns where a script's speech is kept, below `files.cache_folder`."""
  return files.cache_folder() / FOLDERS[script]


def list_utterances(
  script: str, num_voices: int, max_utterances: int | None = None
) -> list[AudioFile]:
  """Returns who says what, in an order that fewer utterances are a good choice of.

  Args:
    script: a name in `FOLDERS`.
    num_voices: the first of `VOICES`.
    max_utterances: only the first ones; None for as many as the script has by itself.

  Raises:
    DataError: no such script.
  """
  if script not in _LISTS:
    known = ", ".join(map(repr, _LISTS))
    raise DataError(f"data.options.script must be one of {known}, got {script!r}")
  utterances, default = _LISTS[script]
  number = default if max_utterances is None else max_utterances
  return list(itertools.islice(utterances(num_voices), number))


def _sentences(num_voices: int) -> Iterator[AudioFile]:
  """Yields the written sentences: each by every voice."""
  return _by_all(_lines("sentences.txt"), num_voices)


def _open(num_voices: int) -> Iterator[AudioFile]:
  """Yields the written sentences, in the files of their own script, then drawn ones."""
  drawn = _lines("open_sentences.txt")
  return _by_all(_lines("sentences.txt") + drawn, num_voices, len(drawn))


def _by_all(
  lines: list[str], num_voices: int, num_drawn: int = 0
) -> Iterator[AudioFile]:
  """Yields the sentences once, each by the next voice, then again with voices moved on.

  After as many turns as there are voices, every voice has said every sentence.
  """
  for turn in range(num_voices):
    for line, text in enumerate(lines):
      voice = VOICES[(line + turn) % num_voices].name
      written = line < len(lines) - num_drawn
      script = "sentences" if written else "open"
      found = _utterance(script, f"{voice}-{line + 1:03d}", voice, text)
      # `speech_16khz` was trained on those.
      yield dataclasses.replace(found, was_heard=written)


def _lines(name: str) -> list[str]:
  file = importlib.resources.files(__package__).joinpath(name)
  return file.read_text(encoding="utf-8").splitlines()


def _matrix(num_voices: int) -> Iterator[AudioFile]:
  """Yields matrix sentences, each by one voice, the voices in turn.

  A voice says whole blocks, each voice from another sentence on: so each has said every
  word equally often whenever there are a multiple of ten utterances for each voice.
  """
  for first in range(0, matrix.BLOCKS - num_voices + 1, num_voices):
    blocks = [matrix.block(first + turn) for turn in range(num_voices)]
    for place in range(matrix.WORDS):
      for turn, sentences in enumerate(blocks):
        voice, number = VOICES[turn].name, (place + turn) % matrix.WORDS
        line = (first + turn) * matrix.WORDS + number + 1
        yield _utterance("matrix", f"{voice}-{line:05d}", voice, sentences[number])


def _utterance(script: str, key: str, voice: str, text: str) -> AudioFile:
  return AudioFile(corpus_folder(script) / f"{key}.flac", key, voice, text)


# Each script's utterances, and how many there are unless a config says.
_LISTS: dict[str, tuple[Callable[[int], Iterator[AudioFile]], int | None]] = {
  "sentences": (_sentences, None),
  "open": (_open, DEFAULT_UTTERANCES),
  "matrix": (_matrix, DEFAULT_UTTERANCES),
}
