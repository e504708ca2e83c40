"""EnCodec's STFT discriminator at one scale."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.codecs.discriminators.stack import (
  feature_maps,
  spectrogram_convs,
  spectrogram_score,
)
from jaxcodec.nn import dsp
from jaxcodec.nn.conv import Dtype


class StftDiscriminator(nn.Module):
  """Convolutions dilated in time over a complex spectrogram; maps are (B, T, F, C).

  Audio is (B, N), or (B, N, C) with all real parts before all imaginary ones.
  Source: encodec/msstftd.py, DiscriminatorSTFT.

  Attributes:
    n_fft: window length, samples; the hop is a quarter of it.
    width: channels; the original has 32.
    slope: of the leaky ReLU; 0.2 in encodec, 0.3 in audiocraft's training.
    dtype: compute type.
  """

  n_fft: int
  width: int = 32
  slope: float = 0.2
  dtype: Dtype = jnp.float32

  def setup(self):
    self.convs = spectrogram_convs(
      self.width, dilations=(1, 2, 4), first_normed=False, dtype=self.dtype
    )
    self.conv_post = spectrogram_score(self.dtype)

  def __call__(self, x) -> list[jax.Array]:
    x_BxCxN = x[:, None] if x.ndim == 2 else x.swapaxes(1, 2)
    settings = dict(hop=self.n_fft // 4, center=False, normalized=True)
    parts = dsp.stft(x_BxCxN, n_fft=self.n_fft, **settings)
    spectrum = jnp.moveaxis(jnp.concatenate(parts, 1), 1, -1)
    maps = feature_maps(self.convs, spectrum, self.slope)
    return [*maps, self.conv_post(maps[-1])]
