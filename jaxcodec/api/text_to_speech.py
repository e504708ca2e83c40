"""AR + NAR: a text, in the voice of a prompt or in one of the model's choosing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.api.speech_model import (
  Request,
  Speech,
  SpeechModel,
  Spoken,
  make_requests,
)
from jaxcodec.data.text import Vocabulary, wrapped
from jaxcodec.inference import slm


class _Ready(NamedTuple):
  text_S: np.ndarray
  prompt_N: np.ndarray | None


class TextToSpeech(SpeechModel):
  """Speaks texts.

  Args:
    vocabulary: the symbols that the model was trained on.
    max_symbols: of a text, and of a prompt's.
    max_prompt_seconds: of a prompt, which is used whole as its text is.
    args, kwargs: see `SpeechModel`.
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

    Of a list, the other arguments are lists too or hold for all.

    Args:
      text: English.
      prompt: a recording of the voice: a file or an array (N,); none leaves it open.
      prompt_rate: Hz, of an array.
      prompt_text: what is said in the prompt, all of it.
      seed: the same gives the same speech.
      sampling: fields of `slm.ar_choice.ArSampler`, and `max_seconds`.

    Raises:
      ValueError: anything that cannot be, before it is computed.
    """
    requests, batch = make_requests(
      "text",
      text=text,
      prompt=prompt,
      prompt_rate=prompt_rate,
      prompt_text=prompt_text,
      seed=seed,
    )
    spoken = self.run(requests, **sampling)
    return spoken if batch else spoken[0]

  def _ready(self, request: Request) -> _Ready:
    if request.text is None or request.like is not None:
      raise ValueError("this model speaks texts, not what a recording says")
    if (request.prompt is None) != (request.prompt_text is None):
      lacking = "prompt" if request.prompt is None else "prompt_text"
      raise ValueError(
        f"{lacking} is missing: a prompt and the text of what is said in it belong"
        " together"
      )
    parts = [self._symbols(request.text, "text")]
    if request.prompt_text is not None:
      parts.insert(0, self._symbols(request.prompt_text, "prompt_text"))
    return _Ready(
      wrapped(*parts), self._prompt(request, longest=self._max_prompt_seconds)
    )

  def _symbols(self, text, name):
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

  def _generate(self, ready, seeds, sampler):
    prompts = self._encoded([one.prompt_N for one in ready])
    jobs = [
      slm.SpeakJob(one.text_S, prompt_TxK, seed)
      for one, prompt_TxK, seed in zip(ready, prompts, seeds, strict=True)
    ]
    each = slm.speak(self._model, self._params, jobs, sampler, self._batch_size)
    spoken = {index: Spoken(codes_TxK, ended) for index, codes_TxK, ended in each}
    return [spoken[index] for index in range(len(jobs))]
