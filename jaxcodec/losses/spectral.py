"""Distances of mel spectrograms, as DAC, EnCodec and Vocos have them.

All take audio (B, N) at `sample_rate` Hz and scales of (n_fft in samples, mel bands);
the hop is n_fft // 4.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcodec.nn import dsp

Scales = Sequence[tuple[int, int]]

DAC_MELS = (
  (32, 5),
  (64, 10),
  (128, 20),
  (256, 40),
  (512, 80),
  (1024, 160),
  (2048, 320),
)
ENCODEC_MELS = tuple((2**i, 64) for i in range(6, 11))
VOCOS_MELS = ((1024, 100),)


def _log_mel_l1(x_BxN, y_BxN, scales, log, floor, **settings):
  """Sums over scales the mean |log mel(x) - log mel(y)| of mels of at least `floor`."""
  total = jnp.zeros(())
  for n_fft, n_mels in scales:
    log_x, log_y = (
      log(jnp.maximum(_mel(a, n_fft, n_mels, **settings), floor))
      for a in (x_BxN, y_BxN)
    )
    total += jnp.abs(log_x - log_y).mean()
  return total


def _mel(x_BxN, n_fft, n_mels, **settings):
  return dsp.mel_spectrogram(
    x_BxN, n_fft=n_fft, hop=n_fft // 4, n_mels=n_mels, **settings
  )


def multiscale_mel(
  x_BxN: jax.Array,
  y_BxN: jax.Array,
  *,
  sample_rate: int,
  scales: Scales = DAC_MELS,
  floor: float = 1e-5,
) -> jax.Array:
  """Sum over scales of the mean |log10 mel(x) - log10 mel(y)|.

  Args:
    x_BxN, y_BxN, sample_rate, scales: see above.
    floor: mel magnitudes are clamped from below to it.

  Source: dac/nn/loss.py, MelSpectrogramLoss with DAC's mag_weight 0 and pow 1.
  """
  return _log_mel_l1(x_BxN, y_BxN, scales, jnp.log10, floor, sample_rate=sample_rate)


def natural_log_mel(
  x_BxN: jax.Array,
  y_BxN: jax.Array,
  *,
  sample_rate: int,
  scales: Scales = VOCOS_MELS,
  floor: float = 1e-7,
) -> jax.Array:
  """Sum over scales of the mean |ln mel(x) - ln mel(y)|, with HTK's filters.

  Args:
    x_BxN, y_BxN, sample_rate, scales: see above; Vocos has one scale.
    floor: mel magnitudes are clamped from below to it.

  Source: vocos/loss.py, MelSpecReconstructionLoss.
  """
  settings = dict(sample_rate=sample_rate, scale="htk")
  return _log_mel_l1(x_BxN, y_BxN, scales, jnp.log, floor, **settings)


def linear_and_log_mel(
  x_BxN: jax.Array,
  y_BxN: jax.Array,
  *,
  sample_rate: int,
  scales: Scales = ENCODEC_MELS,
  f_min: float = 64.0,
  floor: float = 1e-5,
) -> jax.Array:
  """Mean over scales of half (|difference| + squared difference of log10 mels).

  Args:
    x_BxN, y_BxN, sample_rate, scales: see above.
    f_min: lower edge of the first mel filter, Hz.
    floor: added to the mel powers before the logarithm.

  Source: Défossez et al. 2022, eq. 1; audiocraft/losses/specloss.py,
  MultiScaleMelSpectrogramLoss as config/solver/compression/default.yaml sets it.
  """
  total = jnp.zeros(())
  for n_fft, n_mels in scales:
    mel_x, mel_y = (
      _same_length_mel(a, sample_rate, n_fft, n_mels, f_min) for a in (x_BxN, y_BxN)
    )
    log_x, log_y = (jnp.log10(floor + m) for m in (mel_x, mel_y))
    total += jnp.abs(mel_x - mel_y).mean() + ((log_x - log_y) ** 2).mean()
  return total / (2 * len(scales))


def _same_length_mel(x_BxN, sample_rate, n_fft, n_mels, f_min):
  """Returns mel powers of exactly ceil(N / hop) frames, after padding with zeros."""
  hop = n_fft // 4
  around = (n_fft - hop) // 2
  x_BxN = jnp.pad(x_BxN, ((0, 0), (around, around)), mode="reflect")
  x_BxN = jnp.pad(x_BxN, ((0, 0), (0, (n_fft - x_BxN.shape[1]) % hop)))
  settings = dict(sample_rate=sample_rate, f_min=f_min, scale="htk", power=2)
  return _mel(x_BxN, n_fft, n_mels, center=False, normalized=True, **settings)


# By their names in the training config.
MEL = {
  "dac": multiscale_mel,
  "encodec": linear_and_log_mel,
  "vocos": natural_log_mel,
}
