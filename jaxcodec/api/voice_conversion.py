"""Masked parallel: what a recording says, in the voice of a prompt."""

from typing import Any, NamedTuple

import numpy as np

from jaxcodec.api import speech_audio
from jaxcodec.api.speech_model import (
  Request,
  Speech,
  SpeechModel,
  Spoken,
  make_requests,
)
from jaxcodec.inference import slm
from jaxcodec.inference.codec import by_frame
from jaxcodec.semantic.tokenizer import SemanticTokenizer

# Seconds at once. Attention's memory grows with the square of the length.
_SHORTEST, _LONGEST = 0.1, 60.0


class _Ready(NamedTuple):
  content_N: np.ndarray
  prompt_N: np.ndarray | None


class VoiceConverter(SpeechModel):
  """Says again what recordings say.

  Args:
    tokenizer: gives the semantic tokens that the model was trained on.
    prompt_seconds: of a prompt only the first so many seconds are heard.
    args, kwargs: see `SpeechModel`.
  """

  def __init__(self, *args: Any, tokenizer: SemanticTokenizer, prompt_seconds: float):
    super().__init__(*args)
    self._tokenizer, self._prompt_seconds = tokenizer, prompt_seconds

  def speak_like(
    self,
    content: Any,
    prompt: Any = None,
    *,
    content_rate: Any = None,
    prompt_rate: Any = None,
    seed: Any = 0,
    **sampling: Any,
  ) -> Speech | list[Speech]:
    """Says what a recording says, or each of a list as if it were alone.

    Of a list, the other arguments are lists too or hold for all.

    Args:
      content: a file or an array (N,); what is spoken is as long.
      prompt: a recording of the voice, likewise; none leaves it open.
      content_rate, prompt_rate: Hz, of arrays.
      seed: the same gives the same speech.
      sampling: fields of `slm.decode.IterativeSampler`.

    Raises:
      ValueError: anything that cannot be, before it is computed.
    """
    requests, batch = make_requests(
      "like",
      like=content,
      like_rate=content_rate,
      prompt=prompt,
      prompt_rate=prompt_rate,
      seed=seed,
    )
    spoken = self.run(requests, **sampling)
    return spoken if batch else spoken[0]

  def _ready(self, request: Request) -> _Ready:
    if request.like is None or request.text is not None:
      raise ValueError(
        "this model says again what a recording says: it needs one (like), and cannot"
        " read a text"
      )
    if request.prompt_text is not None:
      raise ValueError("prompt_text is not used: this model reads no text")
    content_N = speech_audio.read_clip(
      *(request.like, request.like_rate, self.sample_rate),
      name="content",
      shortest=_SHORTEST,
      longest=_LONGEST,
    )
    return _Ready(content_N, self._prompt(request, kept=self._prompt_seconds))

  def _generate(self, ready, seeds, sampler):
    prompts = self._encoded([one.prompt_N for one in ready])
    jobs = [
      slm.FillJob(self._semantic(one), prompt_TxK, seed)
      for one, prompt_TxK, seed in zip(ready, prompts, seeds, strict=True)
    ]
    each = slm.fill(self._model, self._params, jobs, sampler, self._batch_size)
    codes = dict(each)
    return [Spoken(codes[i], True, len(one.content_N)) for i, one in enumerate(ready)]

  def _semantic(self, one):
    """Of the prompt, then of what is to be said."""
    clips = [clip for clip in (one.prompt_N, one.content_N) if clip is not None]
    spec = self.codec.spec
    tokens = [by_frame(self._tokenizer.encode, spec, clip_N) for clip_N in clips]
    return np.concatenate(tokens)
