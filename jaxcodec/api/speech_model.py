"""What the speech language models share: requests in, speech out."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcodec import files
from jaxcodec.api import checks, speech_audio
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.api.speech_sampling import with_options
from jaxcodec.data.audio.files import write_wav
from jaxcodec.inference.codec import Coded
from jaxcodec.types import Tokens

_SHORTEST_PROMPT = 0.5  # s


class Request(NamedTuple):
  """What is to be said, and in whose voice. Recordings are files, or arrays (N,).

  Attributes:
    text: to speak, or None.
    like: a recording to say again, or None.
    like_rate: Hz, of an array.
    prompt: a recording of the voice; None leaves the voice open.
    prompt_rate: Hz, of an array.
    prompt_text: what is said in the prompt, all of it.
    seed: of the randomness.
  """

  text: str | None = None
  like: Any = None
  like_rate: int | None = None
  prompt: Any = None
  prompt_rate: int | None = None
  prompt_text: str | None = None
  seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Speech:
  """What was spoken.

  Attributes:
    audio_N: float32 in [-1, 1]; none at all where the model ended at once.
    sample_rate: Hz.
    tokens: the codes of it, one item.
    ended: whether it ended by itself; if not, it was cut.
  """

  audio_N: np.ndarray
  sample_rate: int
  tokens: Tokens
  ended: bool

  @property
  def seconds(self) -> float:
    return len(self.audio_N) / self.sample_rate

  @property
  def problem(self) -> str | None:
    """What is wrong with its length; None if nothing is."""
    if not len(self.audio_N):
      return "ended at once: nothing is spoken; another seed may help"
    if not self.ended:
      return f"did not end by itself: cut after {self.seconds:.2f} s"
    return None

  def save(self, path: files.PathLike) -> None:
    """Writes a wav file, whole or not at all."""
    write_wav(path, self.audio_N, self.sample_rate)


class Spoken(NamedTuple):
  """What a language model gave for a request.

  Attributes:
    codes_TxK: perhaps of no frames.
    ended: whether it ended by itself.
    num_samples: that are wanted of its audio; None for all.
  """

  codes_TxK: np.ndarray
  ended: bool
  num_samples: int | None = None

  @property
  def frames(self) -> int:
    return len(self.codes_TxK)


class SpeechModel:
  """A speech language model with its codec.

  Its kinds have `_ready(request)`, what the model needs for a request, checked, and
  `_generate(ready, seeds, sampler)`, a list of `Spoken`.

  Attributes:
    codec: whose tokens it speaks.
    sampler: how it draws them if a call does not say otherwise.
  """

  def __init__(
    self, codec: CodecModel, model: Any, params: Any, sampler: Any, batch_size: int
  ):
    self.codec, self.sampler = codec, sampler
    self._model, self._params = model, jax.device_put(params)
    self._batch_size = batch_size

  @property
  def sample_rate(self) -> int:
    """Hz, of what is spoken."""
    return self.codec.sample_rate

  def run(
    self,
    requests: Sequence[Request],
    names: Sequence[str] | None = None,
    **sampling: Any,
  ) -> list[Speech]:
    """Says all of them; each gives what it gives alone.

    Args:
      requests: what to say.
      names: of the requests, for errors.
      sampling: see `with_options`.

    Raises:
      ValueError: naming the request, before anything is computed.
    """
    sampler = self.sampler_with(**sampling)
    ready = self.checked(requests, names)
    spoken = self._generate(ready, [request.seed for request in requests], sampler)
    decoded = iter(self.codec.runner.decode([s.codes_TxK for s in spoken if s.frames]))
    return [
      self._speech(one, next(decoded) if one.frames else np.zeros(0, np.float32))
      for one in spoken
    ]

  def checked(
    self, requests: Sequence[Request], names: Sequence[str] | None = None
  ) -> list[Any]:
    """The requests as the model needs them; raises as `run` does."""
    if names is None:
      names = [f"item {i}" if len(requests) > 1 else "" for i in range(len(requests))]
    ready = []
    for name, request in zip(names, requests, strict=True):
      with _named(name):
        checks.seed(request.seed)
        ready.append(self._ready(request))
    return ready

  def sampler_with(self, **sampling: Any) -> Any:
    """The sampler with other options; see `with_options`."""
    return with_options(self.sampler, self.codec.spec.frame_rate, sampling)

  def _prompt(self, request: Request, **limits: float) -> np.ndarray | None:
    """The prompt, (N,), within limits of `read_clip`; None if there is none."""
    if request.prompt is None:
      return None
    return speech_audio.read_clip(
      *(request.prompt, request.prompt_rate, self.sample_rate),
      name="prompt",
      shortest=_SHORTEST_PROMPT,
      **limits,
    )

  def _encoded(self, clips: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """Codes (T, K) of clips, equal ones encoded once; None where there is none."""
    unique = {clip_N.tobytes(): clip_N for clip_N in clips if clip_N is not None}
    encoded = self.codec.runner.encode(list(unique.values()))
    codes = dict(zip(unique, encoded, strict=True))
    return [None if clip_N is None else codes[clip_N.tobytes()] for clip_N in clips]

  def _speech(self, one: Spoken, audio_N: np.ndarray) -> Speech:
    audio_N = audio_N[: one.num_samples]
    coded = Coded(one.codes_TxK, np.ones(one.frames, bool))
    tokens = self.codec.tokens([coded], [len(audio_N)], self.sample_rate)
    return Speech(audio_N, self.sample_rate, tokens, one.ended)


def make_requests(what: str, **fields: Any) -> tuple[list[Request], bool]:
  """One request for each item of a batch.

  Args:
    what: the field that decides how many there are: as many as it has items, or one
      if it is no list or tuple.
    fields: of `Request`; those that are no list or tuple are the same for all.

  Returns:
    The requests, and whether they are a batch.

  Raises:
    ValueError: lists of different lengths.
  """
  batch = _is_list(fields[what])
  count = len(fields[what]) if batch else 1
  columns = {}
  for name, value in fields.items():
    if _is_list(value) and (not batch or len(value) != count):
      raise ValueError(
        f"{name} has {len(value)} items, but {what} {count if batch else 'is one item'}"
      )
    columns[name] = value if _is_list(value) else [value] * count
  rows = zip(*columns.values(), strict=True)
  return [Request(**dict(zip(columns, row, strict=True))) for row in rows], batch


def _is_list(value: Any) -> bool:
  return isinstance(value, list | tuple)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
  """Puts the name before what an error says."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{name}: {error}" if name else str(error)) from error
