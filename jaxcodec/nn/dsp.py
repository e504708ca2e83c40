"""STFT, mel filters and mel spectrograms, differentiable and in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcodec.nn import partition

# Up to this size the DFT is a matrix product, which is faster than the FFT.
_MATMUL_DFT_MAX = 256
_TINY_POWER = 1e-30

# By default a GPU or TPU multiplies float32 matrices in fewer bits, and the loud bins
# of a spectrum then drown the quiet ones.
matmul = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def hann(n: int) -> np.ndarray:
  """Returns the periodic Hann window of n samples, float32."""
  return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)


def frame(x_BxN: jax.Array, n_fft: int, hop: int) -> jax.Array:
  """Cuts audio into overlapping frames, (B, 1 + (N - n_fft) // hop, n_fft).

  If the hop divides n_fft, frames are put together from blocks of a hop, whose gradient
  is cheaper than that of the gather that other hops need.
  """
  num = 1 + (x_BxN.shape[-1] - n_fft) // hop
  if n_fft % hop:
    at = np.arange(num)[:, None] * hop + np.arange(n_fft)[None]
    return x_BxN[..., at]
  ratio = n_fft // hop
  blocks = x_BxN[..., : (num + ratio - 1) * hop]
  blocks = blocks.reshape(*x_BxN.shape[:-1], num + ratio - 1, hop)
  return jnp.concatenate([blocks[..., i : i + num, :] for i in range(ratio)], axis=-1)


def reflect_pad(
  x_BxN: jax.Array, pad: int, length_B: jax.Array | None = None
) -> jax.Array:
  """Mirrors each item about its first and last sample, (B, N + 2 * pad).

  Args:
    x_BxN: audio.
    pad: samples before and after; items shorter than that are mirrored repeatedly.
    length_B: valid samples of each item, all if None; its mirrored end is followed by
      zeros.
  """
  if length_B is None:
    return jnp.pad(x_BxN, ((0, 0), (pad, pad)), mode="reflect")
  last_Bx1 = length_B[:, None] - 1
  at_1xN = jnp.arange(-pad, x_BxN.shape[1] + pad)[None]
  period_Bx1 = jnp.maximum(2 * last_Bx1, 1)
  turned_BxN = at_1xN % period_Bx1
  from_BxN = jnp.minimum(turned_BxN, period_Bx1 - turned_BxN)
  y_BxN = jnp.take_along_axis(x_BxN, from_BxN, axis=1)
  return jnp.where(at_1xN <= last_Bx1 + pad, y_BxN, 0)


@functools.lru_cache(maxsize=32)
def _dft_matrix(n_fft: int) -> np.ndarray:
  """Returns windowed cosines, then minus sines, as a matrix (n_fft, 2 * bins)."""
  turns = np.outer(np.arange(n_fft), np.arange(n_fft // 2 + 1)) % n_fft
  angle = 2 * np.pi * turns / n_fft
  both = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1)
  return (both * hann(n_fft).astype(np.float64)[:, None]).astype(np.float32)


def stft(
  x_BxN: jax.Array,
  *,
  n_fft: int,
  hop: int,
  center: bool = True,
  normalized: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Computes the Hann-windowed short-time Fourier transform.

  Args:
    x_BxN: audio; any leading dimensions.
    n_fft: window and transform length, samples.
    hop: step, samples.
    center: reflect-pad by n_fft // 2 on both sides, as torch.stft does.
    normalized: divide by the window's Euclidean norm, as torchaudio does.

  Returns:
    Real and imaginary parts, each (B, T, n_fft // 2 + 1), T = 1 + N // hop if centred.
  """
  x_BxN = x_BxN.astype(jnp.float32)
  if center:
    pad = [(0, 0)] * (x_BxN.ndim - 1) + [(n_fft // 2, n_fft // 2)]
    x_BxN = jnp.pad(x_BxN, pad, mode="reflect")
  frames = frame(x_BxN, n_fft, hop)
  if normalized:
    frames = frames / np.float32(np.linalg.norm(hann(n_fft)))
  if n_fft <= _MATMUL_DFT_MAX:
    both = matmul(frames, _dft_matrix(n_fft))
    return tuple(jnp.split(both, 2, axis=-1))
  window = hann(n_fft).reshape((1,) * (frames.ndim - 1) + (n_fft,))
  spectrum = partition.by_rows(jnp.fft.rfft, frames * window)
  return spectrum.real, spectrum.imag


def magnitude(real: jax.Array, imag: jax.Array) -> jax.Array:
  """Returns |z|, whose gradient at z = 0 is zero instead of infinite."""
  power = real * real + imag * imag
  positive = power > _TINY_POWER
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, power, 1)), 0)


def _hz_to_mel(hz, scale):
  """Converts Hz; Slaney's scale is linear to 1 kHz and logarithmic above."""
  hz = np.asarray(hz, np.float64)
  if scale == "htk":
    return 2595 * np.log10(1 + hz / 700)
  linear = hz * 3 / 200
  log = 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4)
  return np.where(hz < 1000, linear, log)


def _mel_to_hz(mel, scale):
  if scale == "htk":
    return 700 * (10 ** (mel / 2595) - 1)
  return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


@functools.lru_cache(maxsize=64)
def mel_filters(
  sample_rate: int,
  n_fft: int,
  n_mels: int,
  f_min: float = 0.0,
  f_max: float | None = None,
  scale: str = "slaney",
) -> np.ndarray:
  """Returns triangular mel filters, (n_fft // 2 + 1, n_mels) float32.

  Args:
    sample_rate: Hz.
    n_fft: transform length, samples.
    n_mels: number of filters.
    f_min, f_max: outer edges, Hz; f_max is half the sample rate if None.
    scale: "slaney", with filters of unit area (Auditory Toolbox, 1998; librosa's
      default), or "htk", with filters of unit height (torchaudio's default).
  """
  top = sample_rate / 2 if f_max is None else f_max
  mels = np.linspace(_hz_to_mel(f_min, scale), _hz_to_mel(top, scale), n_mels + 2)
  edges = _mel_to_hz(mels, scale)
  hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)[:, None]
  rising = (hz - edges[None, :-2]) / (edges[1:-1] - edges[:-2])[None]
  falling = (edges[None, 2:] - hz) / (edges[2:] - edges[1:-1])[None]
  height = 2 / (edges[2:] - edges[:-2]) if scale == "slaney" else np.ones(n_mels)
  return (np.maximum(0, np.minimum(rising, falling)) * height[None]).astype(np.float32)


def mel_spectrogram(
  x_BxN: jax.Array,
  *,
  sample_rate: int,
  n_fft: int,
  hop: int,
  n_mels: int,
  f_min: float = 0.0,
  f_max: float | None = None,
  center: bool = True,
  normalized: bool = False,
  scale: str = "slaney",
  power: int = 1,
) -> jax.Array:
  """Computes mel-weighted magnitudes, not their logarithm, (B, T, n_mels) float32.

  Args:
    x_BxN: audio at sample_rate Hz.
    sample_rate: Hz.
    n_fft: window and transform length, samples.
    hop: step, samples.
    n_mels: number of filters.
    f_min: lower edge of the first filter, Hz.
    f_max: upper edge of the last filter, Hz; half the sample rate if None.
    center, normalized: see `stft`.
    scale: see `mel_filters`.
    power: 1 for magnitudes, 2 for their squares.
  """
  real, imag = stft(x_BxN, n_fft=n_fft, hop=hop, center=center, normalized=normalized)
  spectrum = real * real + imag * imag if power == 2 else magnitude(real, imag)
  filters = mel_filters(sample_rate, n_fft, n_mels, f_min, f_max, scale)
  return matmul(spectrum, filters)
