"""Language models that speak a text, in the voice of a prompt or in their own."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from jaxcodec.api import speech_pieces
from jaxcodec.api.speech_model import (
  Request,
  Speech,
  SpeechModel,
  Spoken,
  make_requests,
)
from jaxcodec.api.speech_pieces import Voice
from jaxcodec.api.speech_stream import SpeechStream
from jaxcodec.data.source import DataError
from jaxcodec.data.text import Vocabulary
from jaxcodec.data.text.pieces import cut
from jaxcodec.inference import slm
from jaxcodec.inference.stream import Stream
from jaxcodec.inference.stream_pieces import decode_pieces
from jaxcodec.slm.block_sizes import BlockSizes

# What the other codebooks of a block of VALL-E's wait for of codebook 0.
_AHEAD_SECONDS = 0.2


class _TextInputs(NamedTuple):
  """Symbols of the text, in pieces, and of the prompt's text; the prompt's audio."""

  pieces: list[np.ndarray]
  prompt_S: np.ndarray
  prompt_N: np.ndarray | None


_NO_TEXT = np.zeros(0, np.int32)


class TextToSpeech(SpeechModel[_TextInputs]):
  """Speaks texts.

  Args:
    vocabulary: the symbols that the model was trained on.
    max_symbols: the most that a prompt's text may have.
    piece_symbols: the most that a piece of a text may have.
    max_prompt_seconds: the longest prompt; prompts are used whole, as their texts are.
    args: see `SpeechModel`.
  """

  def __init__(
    self,
    *args: Any,
    vocabulary: Vocabulary,
    max_symbols: int,
    piece_symbols: int,
    max_prompt_seconds: float,
  ):
    super().__init__(*args)
    self._vocabulary, self._max_symbols = vocabulary, max_symbols
    self._piece_symbols = piece_symbols
    self._max_prompt_seconds = max_prompt_seconds

  @property
  def language(self) -> str:
    """What the model speaks, by the name of eSpeak's voice, such as `en-us` or `de`."""
    return self._vocabulary.language

  @overload
  def speak(
    self, text: str, prompt: Any = None, *, stream: Literal[True], **options: Any
  ) -> SpeechStream: ...

  @overload
  def speak(
    self,
    text: str | Sequence[str],
    prompt: Any = None,
    *,
    stream: Literal[False] = False,
    **options: Any,
  ) -> Speech | list[Speech]: ...

  def speak(
    self,
    text: str | Sequence[str],
    prompt: Any = None,
    *,
    prompt_rate: Any = None,
    prompt_text: Any = None,
    seed: Any = 0,
    stream: bool = False,
    block_seconds: float = 0.5,
    **sampling: Any,
  ) -> Speech | list[Speech] | SpeechStream:
    """Speaks a text, or each of a list as if it were alone.

    With a list of texts, each other argument is a list too, or one value for all.

    A text that is longer than those that the model was trained on is spoken in pieces,
    of whole sentences where these aren't too long, and the speech joined. Each piece
    has the voice of the prompt, or, if there is none, that of the first piece, unless
    that said nothing or did not end by itself.

    A stream gives the first audio while later frames are not yet spoken. But for
    rounding, a model of the delay pattern gives the codes of the whole, and an AR + NAR
    model its codebook 0; its others are filled in by blocks, and differ.

    Args:
      text: in the model's `language`.
      prompt: a recording of the voice, a file or an array (N,); None leaves the voice
        to the model.
      prompt_rate: Hz, if the prompt is an array.
      prompt_text: the transcript of the whole prompt.
      seed: the same seed gives the same speech.
      stream: whether to return the audio of one text block by block as it is spoken.
      block_seconds: how much a stream gives at a time.
      sampling: fields of `slm.ar_choice.ArSampler`, in the delay pattern of
        `DelaySampler`, and `max_seconds`, of each piece.

    Raises:
      ValueError: naming the argument that is wrong, or a model or codec that has no
        streams, before anything is computed.
    """
    fields = dict(
      text=text,
      prompt=prompt,
      prompt_rate=prompt_rate,
      prompt_text=prompt_text,
      seed=seed,
    )
    if stream:
      return self._stream(fields, block_seconds, sampling)
    return self._run_fields("text", sampling, **fields)

  def _stream(
    self,
    fields: Mapping[str, Any],
    block_seconds: float,
    sampling: Mapping[str, Any],
  ) -> SpeechStream:
    requests, batch = make_requests("text", **fields)
    if batch:
      raise ValueError("text must be one string with stream=True, got a list")
    if not hasattr(self._model, "generate_blocks"):
      raise ValueError("this model speaks whole texts alone: it has no streams")
    if not 0 < block_seconds < math.inf:
      raise ValueError(f"block_seconds must be positive, got {block_seconds}")
    sampler = self.sampler_with(**sampling)
    (inputs,) = self.prepare(requests)
    decoder, rate = self._decoder, self._frame_rate
    block = max(1, round(block_seconds * rate))
    first = block + decoder.decoder_lookahead // decoder.hop
    sizes = BlockSizes(first, block, math.ceil(_AHEAD_SECONDS * rate))
    spoken: list[Spoken] = []
    codes = self._codes(inputs, requests[0].seed, sampler, sizes, spoken)
    audio = (a_Nx1[:, 0] for a_Nx1 in decode_pieces(decoder, codes, block))

    def complete(audio_N: np.ndarray) -> Speech:
      return self._speech(speech_pieces.joined(spoken, self._frame_rate), audio_N)

    return SpeechStream(self.sample_rate, audio, complete)

  @property
  def _frame_rate(self) -> float:
    return self.codec.spec.frame_rate

  @functools.cached_property
  def _decoder(self) -> Stream:
    return self.codec.stream()

  def _codes(
    self,
    inputs: _TextInputs,
    seed: int,
    sampler: Any,
    sizes: BlockSizes,
    spoken: list[Spoken],
  ) -> Iterator[np.ndarray]:
    """Yields the codes of a text, as `_generate` speaks it; `spoken` gets its pieces.

    Only the first of the pieces begins with a longer block: those before are heard
    while a later one is spoken.
    """
    (prompt_TxK,) = self._encode_prompts([inputs.prompt_N])
    voice = Voice(inputs.prompt_S, prompt_TxK)
    for place, piece_S in enumerate(inputs.pieces):
      job, blocks = speech_pieces.job(voice, inputs.pieces, seed, place), []
      each = self._model, self._params, job, sampler, sizes
      for block in slm.speak_in_blocks(*each):
        blocks.append(Spoken(*block))
        yield blocks[-1].codes_TxK
      codes_TxK = np.concatenate([block.codes_TxK for block in blocks])
      spoken.append(Spoken(codes_TxK, blocks[-1].ended))
      voice = voice.after(piece_S, spoken[-1])
      sizes = dataclasses.replace(sizes, first=sizes.block)

  def _prepare(self, request: Request) -> _TextInputs:
    if request.text is None or request.like is not None:
      raise ValueError("this model speaks texts, not what a recording says")
    if (request.prompt is None) != (request.prompt_text is None):
      lacking = "prompt" if request.prompt is None else "prompt_text"
      raise ValueError(
        f"{lacking} is missing: a prompt and the text of what is said in it belong"
        " together"
      )
    prompt_S = _NO_TEXT
    if request.prompt_text is not None:
      prompt_S = self._encode_text(request.prompt_text, "prompt_text")
      self._check_length(prompt_S, request.prompt_text, "prompt_text")
    prompt_N = self._read_prompt(request, longest=self._max_prompt_seconds)
    return _TextInputs(self._encode_pieces(request.text), prompt_S, prompt_N)

  def _encode_pieces(self, text: Any) -> list[np.ndarray]:
    ids_S = self._encode_text(text, "text")
    if len(ids_S) <= self._piece_symbols:
      return [ids_S]
    try:
      pieces = cut(text, self._fits, self.language)
      return [self._encode_text(piece, "text") for piece in pieces]
    except DataError as error:
      raise ValueError(
        f"text: {error}: at most {self._piece_symbols} symbols are spoken at once"
      ) from error

  def _fits(self, text: str) -> bool:
    try:
      return len(self._encode_text(text, "text")) <= self._piece_symbols
    except ValueError:  # a mark without words, which goes with what is beside it
      return True

  def _encode_text(self, text: Any, name: str) -> np.ndarray:
    if not isinstance(text, str):
      raise ValueError(f"{name} must be a string, got {type(text).__name__}")
    try:
      return self._vocabulary.encode(text)
    except ValueError as error:
      raise ValueError(f"{name}: {error}") from error

  def _check_length(self, ids_S: np.ndarray, text: str, name: str) -> None:
    if len(ids_S) > self._max_symbols:
      raise ValueError(
        f"{name} is too long: {len(ids_S)} symbols, more than the {self._max_symbols}"
        f" that the model was trained on (text.max_symbols): {text!r}"
      )

  def _generate(
    self, inputs: Sequence[_TextInputs], seeds: Sequence[int], sampler: Any
  ) -> list[Spoken]:
    """Speaks all pieces whose voice is known, until none is left."""
    prompts = self._encode_prompts([one.prompt_N for one in inputs])
    voices = [Voice(one.prompt_S, p) for one, p in zip(inputs, prompts, strict=True)]
    pieces = [one.pieces for one in inputs]
    found: list[list[Spoken]] = [[] for _ in inputs]
    while places := list(speech_pieces.next_places(found, pieces, voices)):
      jobs = [speech_pieces.job(voices[i], pieces[i], seeds[i], k) for i, k in places]
      for (i, k), spoken in zip(places, self._speak(jobs, sampler), strict=True):
        found[i].append(spoken)
        voices[i] = voices[i].after(pieces[i][k], spoken)
    return [speech_pieces.joined(one, self._frame_rate) for one in found]

  def _speak(self, jobs: Sequence[slm.SpeakJob], sampler: Any) -> list[Spoken]:
    each = slm.speak(self._model, self._params, jobs, sampler, self._batch_size)
    spoken = {index: Spoken(codes_TxK, ended) for index, codes_TxK, ended in each}
    return [spoken[index] for index in range(len(jobs))]
