"""What the speech language models share: requests in, speech out."""

import abc
import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

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
# What a model needs for a request, once the request is checked.
Inputs = TypeVar("Inputs")


class Request(NamedTuple):
  """What to say, and in whose voice. Recordings are files, or arrays (N,).

  Attributes:
    text: the text to speak, or None.
    like: a recording whose content to say again, or None.
    like_rate: Hz, if `like` is an array.
    prompt: a recording of the voice; None leaves the voice to the model.
    prompt_rate: Hz, if `prompt` is an array.
    prompt_text: the transcript of the whole prompt.
    seed: for sampling.
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
  """What a model spoke.

  Attributes:
    audio_N: float32 in [-1, 1]; no samples if the model ended at once.
    sample_rate: Hz.
    tokens: the codes of the audio, one item.
    ended: whether the model ended by itself; if not, it was cut.
    problem: what is wrong with the length, also of a piece of a long text; None if
      nothing is.
  """

  audio_N: np.ndarray
  sample_rate: int
  tokens: Tokens
  ended: bool
  problem: str | None = None

  @property
  def seconds(self) -> float:
    """Length of the audio."""
    return len(self.audio_N) / self.sample_rate

  def save(self, path: files.PathLike) -> None:
    """Writes a wav file, whole or not at all."""
    write_wav(path, self.audio_N, self.sample_rate)


class Spoken(NamedTuple):
  """The codes that a language model gives for a request.

  Attributes:
    codes_TxK: may have no frames.
    ended: whether the model ended by itself.
    num_samples: how many samples of the decoded audio to keep; None keeps all.
    problem: of pieces that are joined in it, if one has any.
  """

  codes_TxK: np.ndarray
  ended: bool
  num_samples: int | None = None
  problem: str | None = None

  @property
  def frames(self) -> int:
    return len(self.codes_TxK)

  def describe_end(self, frame_rate: float) -> str | None:
    """Says what is wrong with the length; returns None if nothing is."""
    if not self.frames:
      return "ended at once: nothing is spoken; another seed may help"
    if not self.ended:
      return f"did not end by itself: cut after {self.frames / frame_rate:.2f} s"
    return None


class SpeechModel(abc.ABC, Generic[Inputs]):
  """A speech language model with its codec.

  Attributes:
    codec: decodes what the model speaks, and encodes prompts.
    sampler: draws the tokens, unless a call says otherwise.
  """

  def __init__(
    self, codec: CodecModel, model: Any, params: Any, sampler: Any, batch_size: int
  ):
    self.codec, self.sampler = codec, sampler
    self._model, self._params = model, jax.device_put(params)
    self._batch_size = batch_size

  @abc.abstractmethod
  def _prepare(self, request: Request) -> Inputs:
    """Checks a request and reads its recordings; raises ValueError."""

  @abc.abstractmethod
  def _generate(
    self, inputs: Sequence[Inputs], seeds: Sequence[int], sampler: Any
  ) -> list[Spoken]:
    """Speaks each of the inputs as if it were alone."""

  @property
  def sample_rate(self) -> int:
    """Rate of the speech, Hz."""
    return self.codec.sample_rate

  def run(
    self,
    requests: Sequence[Request],
    names: Sequence[str] | None = None,
    **sampling: Any,
  ) -> list[Speech]:
    """Speaks each request as if it were alone.

    Args:
      requests: what to say.
      names: of the requests, for errors.
      sampling: see `with_options`.

    Raises:
      ValueError: naming the request, before anything is computed.
    """
    sampler = self.sampler_with(**sampling)
    inputs = self.prepare(requests, names)
    spoken = self._generate(inputs, [request.seed for request in requests], sampler)
    decoded = iter(self.codec.runner.decode([s.codes_TxK for s in spoken if s.frames]))
    return [
      self._speech(one, next(decoded) if one.frames else np.zeros(0, np.float32))
      for one in spoken
    ]

  def prepare(
    self, requests: Sequence[Request], names: Sequence[str] | None = None
  ) -> list[Inputs]:
    """Returns the model's inputs for each request; raises as `run` does."""
    if names is None:
      names = [f"item {i}" if len(requests) > 1 else "" for i in range(len(requests))]
    inputs = []
    for name, request in zip(names, requests, strict=True):
      with _error_prefix(name):
        checks.seed(request.seed)
        inputs.append(self._prepare(request))
    return inputs

  def sampler_with(self, **sampling: Any) -> Any:
    """Returns the sampler with other options; see `with_options`."""
    sampler = with_options(self.sampler, self.codec.spec.frame_rate, sampling)
    if check := getattr(self._model, "check_sampler", None):
      check(sampler)
    return sampler

  def _run_fields(
    self, what: str, sampling: Mapping[str, Any], **fields: Any
  ) -> Speech | list[Speech]:
    """Speaks the requests of `make_requests`: a list if the field `what` is one."""
    requests, batch = make_requests(what, **fields)
    speech = self.run(requests, **sampling)
    return speech if batch else speech[0]

  def _read_prompt(
    self, request: Request, longest: float = math.inf, kept: float = math.inf
  ) -> np.ndarray | None:
    """Returns the prompt (N,), None if there is none; limits as in `read_clip`."""
    if request.prompt is None:
      return None
    return speech_audio.read_clip(
      request.prompt,
      request.prompt_rate,
      self.sample_rate,
      name="prompt",
      shortest=_SHORTEST_PROMPT,
      longest=longest,
      kept=kept,
    )

  def _encode_prompts(
    self, clips: Sequence[np.ndarray | None]
  ) -> list[np.ndarray | None]:
    """Returns the codes (T, K) of each clip; encodes equal clips once."""
    unique = {clip_N.tobytes(): clip_N for clip_N in clips if clip_N is not None}
    encoded = self.codec.runner.encode(list(unique.values()))
    codes = dict(zip(unique, encoded, strict=True))
    return [None if clip_N is None else codes[clip_N.tobytes()] for clip_N in clips]

  def _speech(self, one: Spoken, audio_N: np.ndarray) -> Speech:
    audio_N = audio_N[: one.num_samples]
    coded = Coded(one.codes_TxK, np.ones(one.frames, bool))
    tokens = self.codec.make_tokens([coded], [len(audio_N)], self.sample_rate)
    problem = one.problem or one.describe_end(self.codec.spec.frame_rate)
    return Speech(audio_N, self.sample_rate, tokens, one.ended, problem)


def make_requests(what: str, **fields: Any) -> tuple[list[Request], bool]:
  """Makes one request for each item of a batch.

  Args:
    what: the field whose items are counted: one request for each, or one in all if
      it is neither a list nor a tuple.
    fields: of `Request`; a value that is neither a list nor a tuple holds for all.

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
def _error_prefix(name: str) -> Iterator[None]:
  """Puts the name before the message of a ValueError."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{name}: {error}" if name else str(error)) from error
