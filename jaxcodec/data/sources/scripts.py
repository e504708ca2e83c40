"""What the embedded corpora say, who says it, and where each is kept on disk."""

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
FOLDERS = {"sentences": "embedded-v2", "matrix": "embedded-matrix-v1"}
MATRIX_UTTERANCES = 1_600


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
  """Yields the read sentences: ours, by every voice.

  The sentences once, each by the next voice in turn, then again with the voices moved
  on by one, until every voice has said every sentence.
  """
  lines = importlib.resources.files(__package__).joinpath("sentences.txt")
  sentences = lines.read_text(encoding="utf-8").splitlines()
  for turn in range(num_voices):
    for line, text in enumerate(sentences):
      voice = VOICES[(line + turn) % num_voices].name
      yield _utterance("sentences", f"{voice}-{line + 1:03d}", voice, text)


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
  "matrix": (_matrix, MATRIX_UTTERANCES),
}
