"""Vocos as a vocoder, from audio to log mel spectrograms and back.

Source: vocos/feature_extractors.py and pretrained.py (vocos 0.1.0).
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.nn import dsp, istft

_FLOOR = 1e-7


@dataclasses.dataclass(frozen=True)
class MelFeatures:
  """Natural logarithms of mel magnitudes by HTK's filters, clipped at 1e-7.

  Attributes:
    sample_rate: Hz.
    n_fft: window and transform length, samples.
    hop: samples a frame.
    n_mels: number of filters.
    padding: "center" gives 1 + N // hop frames, "same" N // hop.
  """

  sample_rate: int = 24_000
  n_fft: int = 1024
  hop: int = 256
  n_mels: int = 100
  padding: str = "center"

  def __post_init__(self):
    istft.check(self.n_fft, self.hop, self.padding)

  def num_frames(self, length):
    """Returns the frames of so many samples, a number or an array of them."""
    return length // self.hop + (self.padding == "center")

  def __call__(
    self, audio_BxN: jax.Array, length_B: jax.Array | None = None
  ) -> jax.Array:
    """Returns features (B, T, n_mels) float32.

    Args:
      audio_BxN: audio at `sample_rate`.
      length_B: valid samples of each item, N if None. The first `num_frames(length)`
        frames are those that the item has alone, mirrored about its own end.

    Raises:
      ValueError: N samples are less than a frame.
    """
    if self.num_frames(audio_BxN.shape[1]) < 1:
      raise ValueError(
        f"audio must have at least {self.hop} samples, got {audio_BxN.shape[1]}"
      )
    centred = self.padding == "center"
    pad = self.n_fft // 2 if centred else (self.n_fft - self.hop) // 2
    mel_BxTxM = dsp.mel_spectrogram(
      dsp.reflect_pad(audio_BxN, pad, length_B),
      sample_rate=self.sample_rate,
      n_fft=self.n_fft,
      hop=self.hop,
      n_mels=self.n_mels,
      center=False,
      scale="htk",
    )
    return jnp.log(jnp.maximum(mel_BxTxM, _FLOOR))


class Vocoder(nn.Module):
  """Mel features and a decoder that turns them into audio.

  Attributes:
    mel: computes the features.
    decoder: maps them to audio.
  """

  mel: MelFeatures
  decoder: VocosDecoder

  def __post_init__(self):
    frames, samples = ((p.hop, p.padding) for p in (self.mel, self.decoder))
    if frames != samples:
      raise ValueError(
        f"features and decoder must have one hop and padding, got {frames}, {samples}"
      )
    super().__post_init__()

  def features(self, audio_BxN, length_B=None) -> jax.Array:
    """Returns the features (B, T, M) of audio; see `MelFeatures`."""
    return self.mel(audio_BxN, length_B)

  def decode(self, features_BxTxM, valid_B=None) -> jax.Array:
    """Returns audio (B, N); `valid_B` counts frames, whose audio zeros follow."""
    return self.decoder(features_BxTxM, valid_B)[..., 0]

  def __call__(self, audio_BxN, length_B=None) -> jax.Array:
    """Reconstructs whole hops of audio from its features, (B, N // hop * hop).

    Args:
      audio_BxN: audio at the features' sample rate.
      length_B: valid samples of each item, N if None; zeros follow their whole hops.
    """
    valid_B = None if length_B is None else self.mel.num_frames(length_B)
    return self.decode(self.features(audio_BxN, length_B), valid_B)
