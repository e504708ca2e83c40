"""The embedded corpus's speakers: one neural voice with several vocal tracts.

Each is the voice `heart` of hibari-tts, spoken slower or faster and then resampled by
`stretch`, which scales pitch and formants together as a longer or shorter vocal tract
does.
"""

import dataclasses
import functools
import threading
import zlib
from typing import Any

import numpy as np
import soxr

from jaxcodec.data import extras

# The phonemes are made by one thread at a time; the speech by several.
_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Voice:
  """A speaker.

  Attributes:
    name: its id in the corpus.
    stretch: length of the vocal tract; 1 is the neural voice's own.
    pace: duration of what it says; above 1 it speaks slower than the neural voice.
  """

  name: str
  stretch: float
  pace: float


# Those at the front lie apart, for a corpus of the first few.
VOICES = (
  Voice("ada", 0.87, 1.05),
  Voice("ben", 1.16, 1.05),
  Voice("eva", 1.0, 1.0),
  Voice("max", 1.3, 1.1),
  Voice("ida", 0.93, 0.95),
  Voice("leo", 1.23, 1.0),
  Voice("mia", 1.08, 1.1),
  Voice("ole", 1.38, 1.05),
)


def speak(text: str, voice: Voice) -> tuple[np.ndarray, int]:
  """Speaks a text: the same bits for the same text and voice in any process.

  Returns:
    Mono float32 speech (N,) and its rate in Hz.

  Raises:
    MissingPackage: hibari-tts is not installed.
  """
  model = load_model()
  with _LOCK:
    sentences = model.phonemize(text)
  # The breath in the voice is noise, another one in every utterance.
  seed = zlib.crc32(f"{voice.name}:{text}".encode())
  speed = voice.stretch / voice.pace
  audio_N = np.concatenate(
    [model.from_phonemes(phonemes, speed=speed, seed=seed) for phonemes in sentences]
  )
  rate = model.sample_rate
  return soxr.resample(audio_N, rate, rate * voice.stretch).astype(np.float32), rate


@functools.cache
def load_model() -> Any:
  """Returns the neural voice, on one thread: utterances are spoken in parallel.

  Raises:
    MissingPackage: hibari-tts is not installed.
  """
  hibari, _ = extras.import_modules(
    "hibari-tts",
    "hibari",
    "onnxruntime",
    field="data.source='embedded'",
    extra="corpus",
  )
  return hibari.Hibari(voice="heart", threads=1)
