"""Codes speech with Opus at a given bitrate, as a reference for neural codecs."""

import dataclasses
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soundfile

from jaxcodec.evals.audio import resample
from jaxcodec.evals.metric import EvalClip, MetricAbsent, install_line

PACKAGES = ("av>=14",)
# libopus accepts no less. Asked for less than 4 to 5 kbit/s, it uses 4 to 5 kbit/s.
MIN_BITRATE = 500
# The sample rates of Opus, Hz.
_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_INT16 = 32_768.0


class OpusAudio(NamedTuple):
  """Audio (N,) float32 as Opus decoded it, and the size of its packets in bits."""

  audio_N: np.ndarray
  bits: int


def opus_clips(clips: Sequence[EvalClip], bitrate: float) -> list[EvalClip]:
  """Returns the clips with their references, coded and decoded by Opus, as audio.

  Raises:
    MetricAbsent: PyAV isn't installed, or has no libopus.
  """
  load()
  coded = [through_opus(c.reference, c.sample_rate, bitrate) for c in clips]
  return [
    dataclasses.replace(clip, audio=c.audio_N, bits=c.bits, codes_TxK=None, wavs={})
    for clip, c in zip(clips, coded, strict=True)
  ]


def load() -> None:
  """Finds libopus.

  Raises:
    MetricAbsent: PyAV isn't installed, or has no libopus.
  """
  try:
    import av

    av.codec.Codec("libopus", "w")
  except (ImportError, ValueError) as error:
    raise MetricAbsent(install_line(PACKAGES)) from error


def through_opus(audio_N: np.ndarray, sample_rate: int, bitrate: float) -> OpusAudio:
  """Codes and decodes mono audio with libopus; keeps its length and removes the delay.

  Settings: variable bitrate, 20 ms frames, tuned for speech, full complexity. Bits are
  counted in Opus's packets, without the container.

  Args:
    audio_N: float samples in [-1, 1].
    sample_rate: Hz; audio is resampled to the next higher rate of Opus.
    bitrate: bits per second that the encoder is asked for.

  Raises:
    ValueError: the bitrate is below MIN_BITRATE.
  """
  if bitrate < MIN_BITRATE:
    raise ValueError(f"opus: expected {MIN_BITRATE} bit/s or more, got {bitrate}")
  rate = next((r for r in _RATES if r >= sample_rate), _RATES[-1])
  samples = resample(audio_N, sample_rate, rate)
  content, bits = _encode(samples, rate, int(bitrate))
  # The file states Opus's delay, and the reader cuts it off.
  decoded_N, decoded_rate = soundfile.read(io.BytesIO(content), dtype="float32")
  decoded = resample(decoded_N, decoded_rate, sample_rate)
  padded = np.zeros(len(audio_N), np.float32)
  padded[: len(decoded)] = decoded[: len(audio_N)]
  return OpusAudio(padded, bits)


def _encode(samples: np.ndarray, rate: int, bitrate: int) -> tuple[bytes, int]:
  """Returns an Ogg file's content, and the size of its packets in bits."""
  import av

  options = {"application": "voip", "vbr": "on", "frame_duration": "20"}
  buffer, bits = io.BytesIO(), 0
  with av.open(buffer, "w", format="ogg") as container:
    stream = container.add_stream("libopus", rate=rate, options=options, layout="mono")
    stream.bit_rate = bitrate
    integers = np.round(np.clip(samples, -1, 1 - 1 / _INT16) * _INT16).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(integers[None], format="s16", layout="mono")
    frame.sample_rate = rate
    for packet in (*stream.encode(frame), *stream.encode(None)):
      bits += 8 * packet.size
      container.mux(packet)
  return buffer.getvalue(), bits
