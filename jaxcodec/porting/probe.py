"""Compares converted weights with the original's, on audio made by a formula.

The expected codes and audio come from `probe.npz` beside the weights (`codes_BxTxK`,
`audio_BxNxC`), or from transformers' model, if that is installed.
"""

import functools
import pathlib
import zipfile
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcodec import files
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder
from jaxcodec.types import Tokens

FILE = "probe.npz"
SECONDS = 2.0


class Probe(NamedTuple):
  """A codec's codes for the probe audio, and the audio decoded from them."""

  codes_BxTxK: np.ndarray
  audio_BxNxC: np.ndarray


def audio(codec: Codec) -> np.ndarray:
  """Returns the probe audio (1, N, C) float32: a chirp and noise, always the same."""
  N = round(SECONDS * codec.sample_rate / codec.spec.hop) * codec.spec.hop
  t_Nx1 = np.arange(N)[:, None] / codec.sample_rate
  noise_NxC = np.random.default_rng(0).standard_normal((N, codec.num_channels))
  tones_Nx1 = np.sin(2 * np.pi * (110 + 200 * t_Nx1) * t_Nx1)
  swell_Nx1 = 0.3 * np.sin(np.pi * t_Nx1 / SECONDS) ** 2
  return (swell_Nx1 * (tones_Nx1 + 0.3 * noise_NxC))[None].astype(np.float32)


class Subject:
  """Our codec with converted weights, without approximations of the original.

  Attributes:
    audio_BxNxC: the probe audio.
    tokens: its tokens.
  """

  def __init__(self, codec: Codec, variables: Any):
    if isinstance(codec.decoder, DacDecoder):  # see ConvTranspose1d
      codec = codec.clone(decoder=codec.decoder.clone(exact=False))
    encode, self._decode = (
      jax.jit(functools.partial(codec.apply, method=method))
      for method in ("encode", "decode")
    )
    self._variables = jax.device_put(variables)
    self.audio_BxNxC = audio(codec)
    self.tokens: Tokens = encode(self._variables, self.audio_BxNxC)

  def decode(self, codes_BxTxK: np.ndarray) -> np.ndarray:
    """Decodes codes of the probe audio's shape to audio (B, N, C)."""
    tokens = self.tokens.replace(codes_BxTxK=codes_BxTxK)
    return np.asarray(self._decode(self._variables, tokens))

  def probe(self) -> Probe:
    """Returns the codec's own codes and audio, to be stored beside the weights."""
    codes_BxTxK = np.asarray(self.tokens.codes_BxTxK)
    return Probe(codes_BxTxK, self.decode(codes_BxTxK))


class Comparison(NamedTuple):
  """How a codec differs from the expected probe.

  Attributes:
    agreement: fraction of equal codes.
    error: largest difference of audio decoded from the same codes, relative to the
      peak.
  """

  agreement: float
  error: float


def compare(subject: Subject, expected: Probe) -> Comparison:
  """Compares the codec with the expected codes and audio.

  Raises:
    ValueError: the shapes differ, so the probe is of another model.
  """
  codes_BxTxK = np.asarray(subject.tokens.codes_BxTxK)
  if codes_BxTxK.shape != expected.codes_BxTxK.shape:
    raise ValueError(
      f"expected codes of shape {expected.codes_BxTxK.shape}, ours have"
      f" {codes_BxTxK.shape}"
    )
  agreement = np.mean(codes_BxTxK == expected.codes_BxTxK)
  audio_BxNxC = subject.decode(expected.codes_BxTxK)
  off = np.abs(audio_BxNxC - expected.audio_BxNxC).max()
  return Comparison(float(agreement), float(off / np.abs(expected.audio_BxNxC).max()))


def save(path: files.PathLike, probe: Probe) -> None:
  """Writes the probe as an npz file."""
  with files.replacing(path) as temporary:
    np.savez(temporary, **probe._asdict())


def load(path: files.PathLike) -> Probe | None:
  """Reads a stored probe; returns None if there is none.

  Raises:
    ValueError: names the file, if it isn't a whole probe.
  """
  if not pathlib.Path(path).is_file():
    return None
  try:
    with np.load(path, allow_pickle=False) as arrays:
      return Probe(*(arrays[name] for name in Probe._fields))
  except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
    raise ValueError(f"{path} is not a stored probe ({error})") from None
