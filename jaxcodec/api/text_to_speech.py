"""AR + NAR language models: speak a text, in the voice of a prompt or in their own."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.api.speech_model import Request, Speech, SpeechModel, Spoken
from jaxcodec.data.text import Vocabulary, wrapped
from jaxcodec.inference import slm


class _TextInputs(NamedTuple):
  """The symbols of the prompt's text and of the text, and the prompt's audio.

  `prompt_symbols` is how many of them are the prompt's.
  """

  text_S: np.ndarray
  prompt_symbols: int
  prompt_N: np.ndarray | None


class TextToSpeech(SpeechModel[_TextInputs]):
  """Speaks texts.

  Args:
    vocabulary: the symbols that the model was trained on.
    max_symbols: the most that a text, and a prompt's text, may have.
    max_prompt_seconds: the longest prompt; prompts are used whole, as their texts are.
    args: see `SpeechModel`.
  """

  def __init__(
    self,
    *args: Any,
    vocabulary: Vocabulary,
    max_symbols: int,
    max_prompt_seconds: float,
  ):
    super().__init__(*args)
    self._vocabulary, self._max_symbols = vocabulary, max_symbols
    self._max_prompt_seconds = max_prompt_seconds

  def speak(
    self,
    text: str | Sequence[str],
    prompt: Any = None,
    *,
    prompt_rate: Any = None,
    prompt_text: Any = None,
    seed: Any = 0,
    **sampling: Any,
  ) -> Speech | list[Speech]:
    """Speaks a text, or each of a list as if it were alone.

    With a list of texts, each other argument is a list too, or one value for all.

    Args:
      text: English.
      prompt: a recording of the voice, a file or an array (N,); None leaves the voice
        to the model.
      prompt_rate: Hz, if the prompt is an array.
      prompt_text: the transcript of the whole prompt.
      seed: the same seed gives the same speech.
      sampling: fields of `slm.ar_choice.ArSampler`, and `max_seconds`.

    Raises:
      ValueError: naming the argument that is wrong, before anything is computed.
    """
    return self._run_fields(
      "text",
      sampling,
      text=text,
      prompt=prompt,
      prompt_rate=prompt_rate,
      prompt_text=prompt_text,
      seed=seed,
    )

  def _prepare(self, request: Request) -> _TextInputs:
    if request.text is None or request.like is not None:
      raise ValueError("this model speaks texts, not what a recording says")
    if (request.prompt is None) != (request.prompt_text is None):
      lacking = "prompt" if request.prompt is None else "prompt_text"
      raise ValueError(
        f"{lacking} is missing: a prompt and the text of what is said in it belong"
        " together"
      )
    text_S, prompt_S = self._encode_text(request.text, "text"), np.zeros(0, np.int32)
    if request.prompt_text is not None:
      prompt_S = self._encode_text(request.prompt_text, "prompt_text")
    prompt_N = self._read_prompt(request, longest=self._max_prompt_seconds)
    return _TextInputs(wrapped(prompt_S, text_S), len(prompt_S), prompt_N)

  def _encode_text(self, text: Any, name: str) -> np.ndarray:
    if not isinstance(text, str):
      raise ValueError(f"{name} must be a string, got {type(text).__name__}")
    try:
      ids_S = self._vocabulary.encode(text)
    except ValueError as error:
      raise ValueError(f"{name}: {error}") from error
    if len(ids_S) > self._max_symbols:
      raise ValueError(
        f"{name} is too long: {len(ids_S)} symbols, more than the {self._max_symbols}"
        f" that the model was trained on (text.max_symbols): {text!r}"
      )
    return ids_S

  def _generate(
    self, inputs: Sequence[_TextInputs], seeds: Sequence[int], sampler: Any
  ) -> list[Spoken]:
    prompts = self._encode_prompts([one.prompt_N for one in inputs])
    jobs = [
      slm.SpeakJob(one.text_S, prompt_TxK, seed, one.prompt_symbols)
      for one, prompt_TxK, seed in zip(inputs, prompts, seeds, strict=True)
    ]
    each = slm.speak(self._model, self._params, jobs, sampler, self._batch_size)
    spoken = {index: Spoken(codes_TxK, ended) for index, codes_TxK, ended in each}
    return [spoken[index] for index in range(len(jobs))]
