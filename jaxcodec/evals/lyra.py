"""Codes speech with Lyra V2, a learned codec with a low delay, as a reference.

Lyra V2 is a SoundStream (arXiv 2107.03312) that comes as three TFLite files, in
`lyra/model_coeffs` of github.com/google/lyra (Apache-2.0).
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcodec import files
from jaxcodec.evals.audio import resample
from jaxcodec.evals.metric import EvalClip, install_line, require

PACKAGES = ("ai-edge-litert>=1.2",)
FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")
# Bits of a frame of 20 ms at each bitrate, by the name of its set in results.
FRAME_BITS = {"lyra_3200": 64, "lyra_6000": 120, "lyra_9200": 184}
_RATE, _HOP = 16_000, 320
_CODE_BITS, _UNUSED = 4, -1


def check_folder(folder: str) -> None:
  """Raises FileNotFoundError, which names it, if one of the files isn't there."""
  for name in FILES:
    if not (pathlib.Path(folder) / name).is_file():
      raise FileNotFoundError(
        f"{folder} has no {name}; expected Lyra V2's files {', '.join(FILES)}"
      )


def load() -> Any:
  """Finds the interpreter of TFLite files.

  Raises:
    MetricAbsent: it isn't installed; the message is the line that installs it.
  """
  return require(install_line(PACKAGES), "ai_edge_litert.interpreter")[0]


def checksums(folder: str) -> dict[str, str]:
  """Returns the files' sha256 by name, for the record of results."""
  return {f"lyra/{name}": files.sha256(pathlib.Path(folder) / name) for name in FILES}


def lyra_clips(
  clips: Sequence[EvalClip], folder: str, frame_bits: int
) -> list[EvalClip]:
  """Returns the clips with their references, coded and decoded by Lyra, as audio."""
  coded = []
  for clip in clips:
    audio_N, frames = through_lyra(clip.reference, clip.sample_rate, folder, frame_bits)
    bits = frames * frame_bits
    coded.append(
      dataclasses.replace(clip, audio=audio_N, bits=bits, codes_TxK=None, wavs={})
    )
  return coded


def through_lyra(
  audio_N: np.ndarray, sample_rate: int, folder: str, frame_bits: int
) -> tuple[np.ndarray, int]:
  """Codes and decodes mono audio with Lyra, at its own 16 kHz.

  Args:
    audio_N: float samples in [-1, 1].
    sample_rate: Hz; audio is resampled, and what comes back has this rate and length.
    folder: has FILES.
    frame_bits: of a frame, a value of FRAME_BITS.

  Returns:
    Audio (N,) float32, which Lyra gives in place, and the number of frames.

  Raises:
    MetricAbsent: the interpreter isn't installed.
  """
  samples = resample(audio_N, sample_rate, _RATE)
  frames = -(-len(samples) // _HOP)
  frame_TxH = np.zeros((frames, _HOP), np.float32)
  frame_TxH.reshape(-1)[: len(samples)] = samples
  code = _Coder(pathlib.Path(folder), frame_bits)
  decoded = np.concatenate([code(frame_H) for frame_H in frame_TxH])
  decoded = resample(decoded, _RATE, sample_rate)[: len(audio_N)]
  return np.pad(decoded, (0, len(audio_N) - len(decoded))).astype(np.float32), frames


class _Coder:
  """Codes one recording, frame after frame; the interpreters keep what went before."""

  def __init__(self, folder: pathlib.Path, frame_bits: int):
    interpreter = load().Interpreter
    encoder, quantizer, decoder = (
      interpreter(str(folder / name), num_threads=1) for name in FILES
    )
    self._encode = encoder.get_signature_runner()
    self._quantize = quantizer.get_signature_runner("encode")
    self._dequantize = quantizer.get_signature_runner("decode")
    self._decode = decoder.get_signature_runner()
    self._frame_bits = frame_bits

  def __call__(self, frame_H: np.ndarray) -> np.ndarray:
    """Returns what a frame (320,) sounds like behind those before."""
    features = self._encode(input_audio=frame_H[None])["output_0"]
    number = np.int32(self._frame_bits // _CODE_BITS)
    found = self._quantize(input_frames=features, num_quantizers=number)
    codes = found["output_0"].copy()
    codes[number:] = _UNUSED
    latent = self._dequantize(encoding_indices=codes)["output_0"]
    return self._decode(input_audio=latent)["output_0"][0]
