"""Masked parallel language models: what a recording says, in the voice of a prompt."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.api import quiet, speech_audio, speech_pieces
from jaxcodec.api.speech_model import Request, Speech, SpeechModel, Spoken
from jaxcodec.api.speech_pieces import Voice
from jaxcodec.inference import slm
from jaxcodec.inference.frames import by_frame
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.tokenizer import SemanticTokenizer

# Seconds of content. What is computed for all of it at once are semantic tokens, of
# which HuBERT's attention grows with the square of the length.
_SHORTEST, _LONGEST, _LONGEST_HUBERT = 0.1, 600.0, 60.0
# Seconds of a prompt that are listened to, of which the model goes on from a part: a
# longer recording tells more of the voice that its semantic tokens are freed from.
_HEARD = 15.0
_NOTHING = np.zeros(0, np.int32)


class _RecordingInputs(NamedTuple):
  """The content to say again and the voice's prompt, at the codec's rate."""

  content_N: np.ndarray
  prompt_N: np.ndarray | None


class VoiceConverter(SpeechModel[_RecordingInputs]):
  """Says again what recordings say.

  Args:
    tokenizer: gives the semantic tokens that the model was trained on.
    prompt_seconds: how much of a prompt is spoken on from, where its speech begins.
    window_seconds: the length that the model was trained on. Longer recordings are
      said in pieces, cut where they are quiet, each behind the prompt.
    args: see `SpeechModel`.
  """

  def __init__(
    self,
    *args: Any,
    tokenizer: SemanticTokenizer,
    prompt_seconds: float,
    window_seconds: float,
  ):
    super().__init__(*args)
    self._tokenizer, rate = tokenizer, self.codec.spec.frame_rate
    by_mfcc = isinstance(tokenizer.features, Mfcc)
    self._longest = _LONGEST if by_mfcc else _LONGEST_HUBERT
    self._heard_seconds = max(_HEARD, prompt_seconds)
    self._prompt_frames = round(prompt_seconds * rate)
    self._window_frames = round(window_seconds * rate)

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
      content: a file or an array (N,), of up to ten minutes, or one on HuBERT's tokens;
        the speech is as long.
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
      longest=self._longest,
    )
    prompt_N = self._read_prompt(request, kept=self._heard_seconds)
    return _RecordingInputs(content_N, prompt_N)

  def _generate(
    self, inputs: Sequence[_RecordingInputs], seeds: Sequence[int], sampler: Any
  ) -> list[Spoken]:
    """Says all pieces whose voice is known, until none is left."""
    prompts = self._encode_prompts([one.prompt_N for one in inputs])
    given = list(map(self._given, inputs, prompts))
    voices, pieces = [voice for voice, _ in given], [own for _, own in given]
    found: list[list[Spoken]] = [[] for _ in inputs]
    while places := list(speech_pieces.next_places(found, pieces, voices)):
      jobs = [self._job(voices[i], pieces[i][k], seeds[i] + k) for i, k in places]
      each = slm.fill(self._model, self._params, jobs, sampler, self._batch_size)
      codes = dict(each)
      for number, (i, k) in enumerate(places):
        spoken = Spoken(codes[number], True)
        found[i].append(spoken)
        voices[i] = voices[i].after(pieces[i][k], spoken, self._prompt_frames)
    return [
      Spoken(np.concatenate([piece.codes_TxK for piece in own]), True, len(content_N))
      for own, (content_N, _) in zip(found, inputs, strict=True)
    ]

  def _given(
    self, one: _RecordingInputs, prompt_TxK: np.ndarray | None
  ) -> tuple[Voice, list[np.ndarray]]:
    """Returns a part of the prompt, and the content's tokens in pieces."""
    clips = [clip for clip in (one.prompt_N, one.content_N) if clip is not None]
    hop, voice = self.codec.spec.hop, Voice(_NOTHING, None)
    *before, content_T = by_frame(self._tokenizer.encode, self.codec.spec, clips)
    behind = self._prompt_frames if len(content_T) > self._window_frames else 0
    if one.prompt_N is not None and prompt_TxK is not None:
      part = quiet.speech(quiet.power(one.prompt_N, hop), self._prompt_frames)
      voice = Voice(before[0][part], prompt_TxK[part])
      behind = len(voice.symbols_S)
    longest = max(self._window_frames - behind, self._window_frames // 2)
    cuts = quiet.cuts(quiet.power(one.content_N, hop), longest)
    return voice, np.split(content_T, cuts)

  def _job(self, voice: Voice, piece_T: np.ndarray, seed: int) -> slm.FillJob:
    semantic_T = np.concatenate([voice.symbols_S, piece_T])
    return slm.FillJob(semantic_T, voice.codes_TxK, seed % 2**32)
