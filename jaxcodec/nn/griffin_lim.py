"""Audio from the magnitudes of its short-time spectrum, by the fast Griffin-Lim method.

Sources: Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (WASPAA
2013), algorithm 2; Beauregard, Harish and Wyse, "Single pass spectrogram inversion"
(DSP 2015), for the phases that it starts from.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcodec.nn import dsp, istft
from jaxcodec.nn.conv import mask_frames

_TINY = 1e-8


def stft(x_BxN: jax.Array, *, n_fft: int, hop: int) -> tuple[jax.Array, jax.Array]:
  """Computes the spectra that `istft` with padding "same" undoes.

  Args:
    x_BxN: audio of whole hops; zeros surround it.
    n_fft: window and transform length, samples.
    hop: step, samples.

  Returns:
    Real and imaginary parts, each (B, N // hop, n_fft // 2 + 1).
  """
  pad = (n_fft - hop) // 2
  padded_BxN = jnp.pad(x_BxN, ((0, 0), (pad, n_fft - hop - pad)))
  return dsp.stft(padded_BxN, n_fft=n_fft, hop=hop, center=False)


def griffin_lim(
  magnitude_BxTxF: jax.Array,
  *,
  n_fft: int,
  hop: int,
  iterations: int = 32,
  momentum: float = 0.99,
  phase_BxTxF: jax.Array | None = None,
  valid_B: jax.Array | None = None,
) -> jax.Array:
  """Finds audio whose Hann-windowed STFT has nearly these magnitudes.

  Every iteration computes the audio of the current phases and takes the phases of its
  spectrum, extrapolated by `momentum` times the last step.

  Args:
    magnitude_BxTxF: not negative, F = n_fft // 2 + 1.
    n_fft: window and transform length, samples.
    hop: step, samples.
    iterations: at least 1.
    momentum: 0 for the method of Griffin and Lim (1984).
    phase_BxTxF: radians to start from; `single_pass_phase` if None.
    valid_B: valid frames of each item, all if None; the others have no influence.

  Returns:
    (B, T * hop) float32, with zeros beyond an item's valid frames.

  Raises:
    ValueError: the settings cannot be, or F does not fit n_fft.
  """
  check(n_fft, hop, iterations, momentum)
  if magnitude_BxTxF.shape[-1] != n_fft // 2 + 1:
    raise ValueError(
      f"magnitudes must have n_fft // 2 + 1 = {n_fft // 2 + 1} bins, got"
      f" {magnitude_BxTxF.shape[-1]}"
    )
  magnitude_BxTxF = mask_frames(magnitude_BxTxF.astype(jnp.float32), valid_B)
  if phase_BxTxF is None:
    phase_BxTxF = single_pass_phase(magnitude_BxTxF, n_fft=n_fft, hop=hop)
  phase_BxTxF = mask_frames(phase_BxTxF, valid_B)

  def synthesize(unit):
    spectrum = (magnitude_BxTxF * part for part in unit)
    return istft.istft(*spectrum, n_fft=n_fft, hop=hop, valid_B=valid_B)

  def project(unit):
    return stft(synthesize(unit), n_fft=n_fft, hop=hop)

  def iterate(_, state):
    unit, before = state
    now = project(unit)
    ahead = jax.tree.map(lambda new, old: new + momentum * (new - old), now, before)
    return _unit(*ahead), now

  first = project((jnp.cos(phase_BxTxF), jnp.sin(phase_BxTxF)))
  state = lax.fori_loop(1, iterations, iterate, (_unit(*first), first))
  return synthesize(state[0])


def check(n_fft: int, hop: int, iterations: int, momentum: float) -> None:
  """Raises ValueError if Griffin-Lim cannot have these settings."""
  istft.check(n_fft, hop, "same")
  if iterations < 1:
    raise ValueError(f"iterations must be positive, got {iterations}")
  if momentum < 0:
    raise ValueError(f"momentum must not be negative, got {momentum}")


def _unit(real, imag):
  """Divides complex numbers by their magnitude; zero becomes one."""
  size = dsp.magnitude(real, imag)
  positive = size > 0
  scale = 1 / jnp.where(positive, size, 1)
  return jnp.where(positive, real * scale, 1), jnp.where(positive, imag * scale, 0)


def single_pass_phase(magnitude_BxTxF: jax.Array, *, n_fft: int, hop: int) -> jax.Array:
  """Estimates phases, in radians, from magnitudes alone.

  Every bin turns from frame to frame at the frequency of the nearest peak. Around a
  peak the phases of neighbouring bins differ by half a turn, as those of a sinusoid in
  a window that is symmetric about the frame's middle do. No frame depends on later
  ones.
  """
  bins_F = jnp.arange(magnitude_BxTxF.shape[-1])
  frequency_BxTxF = _nearest_peak(magnitude_BxTxF, bins_F)
  turns_BxTxF = jnp.cumsum(frequency_BxTxF * np.float32(hop / n_fft) % 1, 1) % 1
  distance_BxTxF = jnp.abs(bins_F.reshape(1, 1, -1) - jnp.round(frequency_BxTxF))
  return 2 * jnp.pi * turns_BxTxF + jnp.pi * distance_BxTxF


def _nearest_peak(magnitude_BxTxF, bins_F):
  """Returns the frequency, in bins, of the peak that is nearest to each bin."""
  F, at = len(bins_F), bins_F.reshape(1, 1, -1)
  is_peak_BxTxF, shift_BxTxF = _peaks(jnp.log(magnitude_BxTxF + _TINY))
  below = lax.cummax(jnp.where(is_peak_BxTxF, at, -1), axis=2)
  above = lax.cummin(jnp.where(is_peak_BxTxF, at, 2 * F), axis=2, reverse=True)
  use_above = (above < F) & ((above - at < at - below) | (below < 0))
  nearest = jnp.clip(jnp.where(use_above, above, below), 0, F - 1)
  return jnp.take_along_axis(at + shift_BxTxF, nearest, 2)


def _peaks(log_BxTxF):
  """Returns where local maxima are, and by how much their parabolas' tops lie aside."""
  edges = ((0, 0), (0, 0), (1, 1))
  padded = jnp.pad(log_BxTxF, edges, constant_values=-1e9)
  left, right = padded[..., :-2], padded[..., 2:]
  is_peak = (log_BxTxF > left) & (log_BxTxF >= right)
  curvature = jnp.minimum(left - 2 * log_BxTxF + right, -1e-6)
  shift = jnp.clip((left - right) / (2 * curvature), -0.5, 0.5)
  return is_peak, jnp.where(is_peak, shift, 0)
