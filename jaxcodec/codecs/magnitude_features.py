"""Compressed magnitudes of a short-time spectrum, by bins and by bands of bins."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.nn import dsp
from jaxcodec.nn.griffin_lim import stft, stft_reach
from jaxcodec.nn.istft import check
from jaxcodec.nn.reach import Reach

_FLOOR = 1e-10
_BIN_HERTZ = 25  # about, of every spectrum that is coded at 16 kHz


@dataclasses.dataclass(frozen=True)
class MagnitudeFeatures:
  """Magnitudes to a power below 1, which loudness follows more closely than they do.

  Unlike a logarithm, a power spends little on near silence. Bands are triangles, a bin
  apart at low frequencies, where harmonics must stay apart, and further up as wide as
  `band_ratio` of their frequency.

  Attributes:
    n_fft: window and transform length, samples; F = n_fft // 2 + 1 bins.
    sub_hop: step, samples.
    power: between 0 and 1.
    band_ratio: distance of two bands by their frequency.
  """

  n_fft: int = 640
  sub_hop: int = 160
  power: float = 0.3
  band_ratio: float = 0.0388

  def __post_init__(self):
    check(self.n_fft, self.sub_hop, "same")
    if not 0 < self.power <= 1:
      raise ValueError(f"power must be above 0 and at most 1, got {self.power}")
    if not 0 < self.band_ratio < 1:
      raise ValueError(f"band_ratio must be between 0 and 1, got {self.band_ratio}")

  @property
  def num_bins(self) -> int:
    return self.n_fft // 2 + 1

  @property
  def num_bands(self) -> int:
    return len(_centres(self.num_bins, self.band_ratio))

  @property
  def reach(self) -> Reach:
    """On which samples the frames depend."""
    return stft_reach(self.n_fft, self.sub_hop)

  def magnitudes(self, x_BxN: jax.Array) -> jax.Array:
    """Returns the magnitudes (B, N // sub_hop, F) of audio of whole steps."""
    return dsp.magnitude(*stft(x_BxN, n_fft=self.n_fft, hop=self.sub_hop))

  def compress(self, magnitude: jax.Array) -> jax.Array:
    """Returns magnitudes to the power, with a finite gradient at 0."""
    return (magnitude * magnitude + _FLOOR) ** (self.power / 2)

  def expand(self, compressed: jax.Array) -> jax.Array:
    """Undoes `compress`; what is negative becomes 0."""
    positive = compressed > 0
    return jnp.where(
      positive, jnp.where(positive, compressed, 1) ** (1 / self.power), 0
    )

  def bands(self, magnitude_BxTxF: jax.Array) -> jax.Array:
    """Returns the compressed means of the magnitudes of each band, (B, T, bands)."""
    filters = _band_filters(self.num_bins, self.band_ratio)
    return self.compress(dsp.matmul(magnitude_BxTxF, filters))

  def envelope(self, size: int) -> np.ndarray:
    """Returns a projection of bands to their envelope, (bands, size) float32.

    It is the start of a cosine series along the mel scale, on which harmonics are too
    close to each other to be seen.
    """
    hertz_M = _centres(self.num_bins, self.band_ratio) * _BIN_HERTZ
    place_M = np.log1p(hertz_M / 700)
    place_M = place_M / place_M[-1]
    waves_MxS = np.cos(np.pi * place_M[:, None] * np.arange(size)[None])
    return (waves_MxS * np.gradient(place_M)[:, None]).astype(np.float32)

  def bin_weights(self) -> np.ndarray:
    """Returns how many bands there are for a bin, (F,) float32, divided by the mean.

    As weights of bins in a loss, they make every band count alike.
    """
    centre = _centres(self.num_bins, self.band_ratio)
    weight_F = np.interp(np.arange(self.num_bins), centre, 1 / np.gradient(centre))
    return (weight_F / weight_F.mean()).astype(np.float32)


@functools.lru_cache(maxsize=32)
def _centres(num_bins, ratio):
  """Returns the bands' centres in bins, from 0 to the last bin."""
  centre = [0.0]
  while centre[-1] < num_bins - 1:
    centre.append(centre[-1] + max(1.0, ratio * centre[-1]))
  return np.array(centre) * (num_bins - 1) / centre[-1]


@functools.lru_cache(maxsize=32)
def _band_filters(num_bins, ratio):
  """Returns triangles from centre to centre, each of sum 1, (F, bands) float32."""
  centre = _centres(num_bins, ratio)
  below = np.concatenate([[-1.0], centre[:-1]])
  above = np.concatenate([centre[1:], [centre[-1] + 1]])
  bin_Fx1 = np.arange(num_bins)[:, None]
  rising = (bin_Fx1 - below[None]) / (centre - below)[None]
  falling = (above[None] - bin_Fx1) / (above - centre)[None]
  filters = np.maximum(0, np.minimum(rising, falling))
  return (filters / filters.sum(0, keepdims=True)).astype(np.float32)
