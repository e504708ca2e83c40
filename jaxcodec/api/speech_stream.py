"""Speech that is heard while it is still being spoken."""

from collections.abc import Callable, Iterator

import numpy as np

from jaxcodec.api.speech_model import Speech


class SpeechStream(Iterator[np.ndarray]):
  """Gives the audio (N,) float32 of what is spoken, block by block, as it is known.

    stream = tts.speak("It was a bright day.", stream=True)
    for block_N in stream:
      play(block_N, stream.sample_rate)
    stream.speech.save("out.wav")

  Each block is computed when it is asked for. If that fails, so does every later one.

  Attributes:
    sample_rate: Hz.
  """

  def __init__(
    self,
    sample_rate: int,
    blocks: Iterator[np.ndarray],
    complete: Callable[[np.ndarray], Speech],
  ):
    self.sample_rate = sample_rate
    self._blocks, self._complete = blocks, complete
    self._given: list[np.ndarray] = []
    self._speech: Speech | None = None
    self._failure: BaseException | None = None

  def __next__(self) -> np.ndarray:
    if self._failure is not None:
      raise self._failure
    try:
      block_N = next(filter(len, self._blocks), None)
    except BaseException as error:
      self._failure = error
      raise
    if block_N is not None:
      self._given.append(block_N)
      return block_N
    if self._speech is None:
      nothing = np.zeros(0, np.float32)
      self._speech = self._complete(np.concatenate([nothing, *self._given]))
    raise StopIteration

  @property
  def speech(self) -> Speech:
    """All that was spoken.

    Raises:
      ValueError: not all blocks were taken yet.
    """
    if self._speech is None:
      raise ValueError("the speech is known when all blocks of its stream are taken")
    return self._speech
