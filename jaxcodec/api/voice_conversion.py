"""Masked parallel language models: what a recording says, in the voice of a prompt."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.api import speech_audio
from jaxcodec.api.speech_model import Request, Speech, SpeechModel, Spoken
from jaxcodec.inference import slm
from jaxcodec.inference.frames import by_frame
from jaxcodec.semantic.tokenizer import SemanticTokenizer

# Seconds of content. Attention's memory grows with the square of the length.
_SHORTEST, _LONGEST = 0.1, 60.0
# Seconds of a prompt that are listened to, of which the model goes on from a part: a
# longer recording tells more of the voice that its semantic tokens are freed from.
_HEARD = 15.0
_SILENCE_DB = -40.0  # below a prompt's loudest frame


class _RecordingInputs(NamedTuple):
  """The content to say again and the voice's prompt, at the codec's rate."""

  content_N: np.ndarray
  prompt_N: np.ndarray | None


class VoiceConverter(SpeechModel[_RecordingInputs]):
  """Says again what recordings say.

  Args:
    tokenizer: gives the semantic tokens that the model was trained on.
    prompt_seconds: how much of a prompt is spoken on from, where its speech begins.
    args: see `SpeechModel`.
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

    With a list of recordings, each other argument is a list too, or one value for all.

    Args:
      content: a file or an array (N,); the speech is as long.
      prompt: a recording of the voice, likewise; None leaves the voice to the model.
      content_rate, prompt_rate: Hz, for arrays.
      seed: the same seed gives the same speech.
      sampling: fields of `slm.decode.IterativeSampler`.

    Raises:
      ValueError: naming the argument that is wrong, before anything is computed.
    """
    return self._run_fields(
      "like",
      sampling,
      like=content,
      like_rate=content_rate,
      prompt=prompt,
      prompt_rate=prompt_rate,
      seed=seed,
    )

  def _prepare(self, request: Request) -> _RecordingInputs:
    if request.like is None or request.text is not None:
      raise ValueError(
        "this model says again what a recording says: it needs one (like), and cannot"
        " read a text"
      )
    if request.prompt_text is not None:
      raise ValueError("prompt_text is not used: this model reads no text")
    content_N = speech_audio.read_clip(
      request.like,
      request.like_rate,
      self.sample_rate,
      name="content",
      shortest=_SHORTEST,
      longest=_LONGEST,
    )
    prompt_N = self._read_prompt(request, kept=max(_HEARD, self._prompt_seconds))
    return _RecordingInputs(content_N, prompt_N)

  def _generate(
    self, inputs: Sequence[_RecordingInputs], seeds: Sequence[int], sampler: Any
  ) -> list[Spoken]:
    prompts = self._encode_prompts([one.prompt_N for one in inputs])
    jobs = list(map(self._job, inputs, prompts, seeds))
    each = slm.fill(self._model, self._params, jobs, sampler, self._batch_size)
    codes = dict(each)
    return [Spoken(codes[i], True, len(one.content_N)) for i, one in enumerate(inputs)]

  def _job(
    self, one: _RecordingInputs, prompt_TxK: np.ndarray | None, seed: int
  ) -> slm.FillJob:
    """Returns the tokens of a part of the prompt and of the content, and its codes."""
    clips = [clip for clip in (one.prompt_N, one.content_N) if clip is not None]
    *before, content_T = by_frame(self._tokenizer.encode, self.codec.spec, clips)
    if one.prompt_N is None or prompt_TxK is None:
      return slm.FillJob(content_T, None, seed)
    most = round(self._prompt_seconds * self.codec.spec.frame_rate)
    part = _part(one.prompt_N, self.codec.spec.hop, most)
    semantic_T = np.concatenate([before[0][part], content_T])
    return slm.FillJob(semantic_T, prompt_TxK[part], seed)


def _part(audio_N: np.ndarray, hop: int, frames: int) -> slice:
  """Returns at most `frames` frames to speak on from, from the first loud one on."""
  padded_N = np.pad(audio_N, (0, -len(audio_N) % hop))
  power_T = np.square(padded_N.reshape(-1, hop)).mean(1)
  first = int(np.argmax(power_T > power_T.max() * 10 ** (_SILENCE_DB / 10)))
  start = max(0, min(first, len(power_T) - frames))
  return slice(start, start + frames)
