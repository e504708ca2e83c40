"""Runs an exported codec with jax and numpy alone; README.md beside it says how."""

import json
import pathlib

import jax
import jax.export
import numpy as np


class ExportedCodec:
  """Programs and weights of a folder; `about` is the content of its codec.json."""

  def __init__(self, folder):
    self.folder, self._programs = pathlib.Path(folder), {}
    self.about = json.loads((self.folder / "codec.json").read_text(encoding="utf-8"))
    with np.load(self.folder / "weights.npz") as raw:
      self.weights = self.program("prepare")([raw[name] for name in raw.files])

  def program(self, name):
    """Returns a program for JAX's default backend, as a function of arrays."""
    if name not in self._programs:
      form = "cpu" if jax.default_backend() == "cpu" else "accelerator"
      content = (self.folder / form / f"{name}.bin").read_bytes()
      self._programs[name] = jax.jit(jax.export.deserialize(bytearray(content)).call)
    return self._programs[name]

  def encode(self, audio_NxC):
    """Returns codes (T, K), which frames are valid (T,), and gains (S,) or None."""
    if not len(audio_NxC):
      raise ValueError("the audio has no samples")
    frames = self._fit("encode", -(-len(audio_NxC) // self.about["hop"]))
    audio_1xNxC = _pad(np.float32(audio_NxC), frames * self.about["hop"])
    length_B = np.array([len(audio_NxC)], np.int32)
    found = self.program(f"encode_{frames}")(self.weights, audio_1xNxC, length_B)
    codes_TxK, mask_T, gain_S = (None if x is None else np.asarray(x)[0] for x in found)
    T = int(np.flatnonzero(mask_T)[-1]) + 1
    return codes_TxK[:T], mask_T[:T], gain_S

  def decode(self, codes_TxK, mask_T=None, gain_S=None):
    """Returns audio (N, C), of which what follows the original's length is padding."""
    T, mask_T = len(codes_TxK), np.ones(len(codes_TxK)) if mask_T is None else mask_T
    frames = self._fit("decode", T)
    tokens = _pad(np.int32(codes_TxK), frames), _pad(np.bool_(mask_T), frames)
    if (count := self.about["gains"].get(str(frames))) is not None:
      tokens = *tokens, _pad(np.float32(gain_S)[:count], count)
    return np.asarray(self.program(f"decode_{frames}")(self.weights, *tokens))[0]

  def _fit(self, what, frames):
    fitting = [size for size in self.about[what] if size >= frames]
    if not fitting:
      raise ValueError(f"{frames} frames; {what} takes at most {self.about[what][-1]}")
    return fitting[0]


def _pad(array, length):
  missing = ((0, length - len(array)),) + ((0, 0),) * (array.ndim - 1)
  return np.pad(array, missing)[None]
