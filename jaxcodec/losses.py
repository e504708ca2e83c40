"""Pure loss functions of codec training; all in float32."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcodec.nn import dsp

Maps = Sequence[Sequence[jax.Array]]

DAC_MELS = (
  *((32, 5), (64, 10), (128, 20), (256, 40)),
  *((512, 80), (1024, 160), (2048, 320)),
)


def multiscale_mel(
  x_BxN: jax.Array,
  y_BxN: jax.Array,
  *,
  sample_rate: int,
  scales: Sequence[tuple[int, int]] = DAC_MELS,
  floor: float = 1e-5,
) -> jax.Array:
  """Sum over scales of the mean |log10 mel(x) - log10 mel(y)|.

  Args:
    x_BxN, y_BxN: audio at sample_rate Hz.
    scales: (n_fft in samples, mel bands) of each scale; the hop is n_fft // 4.
    floor: mel magnitudes are clamped from below to it.

  Source: dac/nn/loss.py, MelSpectrogramLoss with DAC's mag_weight 0 and pow 1.
  """
  total = jnp.zeros(())
  for n_fft, n_mels in scales:
    settings = dict(sample_rate=sample_rate, n_fft=n_fft, hop=n_fft // 4, n_mels=n_mels)
    mel_x, mel_y = (dsp.mel_spectrogram(a, **settings) for a in (x_BxN, y_BxN))
    log_x, log_y = (jnp.log10(jnp.maximum(m, floor)) for m in (mel_x, mel_y))
    total += jnp.abs(log_x - log_y).mean()
  return total


def lsgan_discriminator(real: Maps, fake: Maps) -> jax.Array:
  """Least squares: real scores to 1, fake to 0, summed over sub-discriminators.

  Source: Mao et al. 2017, eq. 9 without the halves; dac/nn/loss.py, GANLoss.
  """
  pairs = zip(real, fake, strict=True)
  return sum(((1 - r[-1]) ** 2).mean() + (f[-1] ** 2).mean() for r, f in pairs)


def lsgan_generator(fake: Maps) -> jax.Array:
  """Least squares: fake scores to 1, summed over sub-discriminators."""
  return sum(((1 - f[-1]) ** 2).mean() for f in fake)


def feature_matching(real: Maps, fake: Maps) -> jax.Array:
  """Mean |difference| of every feature map but the score, summed over all of them."""
  return sum(
    jnp.abs(jax.lax.stop_gradient(r) - f).mean()
    for reals, fakes in zip(real, fake, strict=True)
    for r, f in zip(reals[:-1], fakes[:-1], strict=True)
  )


def si_sdr(reference_BxN: jax.Array, estimate_BxN: jax.Array) -> jax.Array:
  """Scale-invariant signal-to-distortion ratio of each item, dB (B,).

  Source: Le Roux et al. 2019, eq. 2-3, means removed.
  """
  r = reference_BxN - reference_BxN.mean(-1, keepdims=True)
  e = estimate_BxN - estimate_BxN.mean(-1, keepdims=True)
  scale = (r * e).sum(-1, keepdims=True) / ((r * r).sum(-1, keepdims=True) + 1e-8)
  signal, noise = (scale * r), e - scale * r
  ratio = ((signal**2).sum(-1) + 1e-8) / ((noise**2).sum(-1) + 1e-8)
  return 10 * jnp.log10(ratio)
