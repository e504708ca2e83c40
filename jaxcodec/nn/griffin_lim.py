"""Audio from the magnitudes of its short-time spectrum, by the fast Griffin-Lim method.

Source: Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (WASPAA 2013),
algorithm 2.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import dsp, istft
from jaxcodec.nn.conv import mask_frames
from jaxcodec.nn.reach import Reach

_SEED = 0  # of the phases to start from


def stft(x_BxN: jax.Array, *, n_fft: int, hop: int) -> tuple[jax.Array, jax.Array]:
  """Computes the spectra that `istft` with padding "same" undoes.

  Args:
    x_BxN: audio of whole hops; zeros surround it.
    n_fft: window and transform length, samples.
    hop: step, samples.

  Returns:
    Real and imaginary parts, each (B, N // hop, n_fft // 2 + 1).
  """
  seen = stft_reach(n_fft, hop)
  padded_BxN = jnp.pad(x_BxN, ((0, 0), (seen.before, seen.after)))
  return dsp.stft(padded_BxN, n_fft=n_fft, hop=hop, center=False)


def stft_reach(n_fft: int, hop: int) -> Reach:
  """Returns on which samples the frames of `stft` depend."""
  before = (n_fft - hop) // 2
  return Reach(down=hop, before=before, after=n_fft - hop - before)


def griffin_lim(
  magnitude_BxTxF: jax.Array,
  *,
  n_fft: int,
  hop: int,
  iterations: int = 32,
  momentum: float = 0.99,
  phase_BxTxF: jax.Array | None = None,
  first: jax.Array | int = 0,
  valid_B: jax.Array | None = None,
) -> jax.Array:
  """Finds audio whose Hann-windowed STFT has nearly these magnitudes.

  Every iteration computes the audio of the current phases and takes the phases of its
  spectrum, extrapolated by `momentum` times the last step. A frame's audio depends on
  `reach` frames on either side.

  Args:
    magnitude_BxTxF: not negative, F = n_fft // 2 + 1.
    n_fft: window and transform length, samples.
    hop: step, samples.
    iterations: at least 1.
    momentum: 0 for the method of Griffin and Lim (1984).
    phase_BxTxF: radians to start from; `fixed_phase` if None.
    first: place of the first frame in a clip of which these are a part; see
      `fixed_phase`.
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
    phase_BxTxF = fixed_phase(*magnitude_BxTxF.shape[1:], first)
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


def fixed_phase(
  num_frames: int, num_bins: int, first: jax.Array | int = 0
) -> jax.Array:
  """Returns random phases in radians, (1, num_frames, num_bins), always the same ones.

  A frame's phases depend on its place alone, so that a part of a clip starts as it does
  in the whole. Estimates that follow a sinusoid from frame to frame would depend on all
  frames before.

  Args:
    num_frames: T.
    num_bins: F.
    first: place of the first frame.
  """

  def of_frame(place):
    key = jax.random.fold_in(jax.random.key(_SEED), place)
    return jax.random.uniform(key, (num_bins,), maxval=2 * jnp.pi)

  return jax.vmap(of_frame)(first + jnp.arange(num_frames))[None]


def reach(n_fft: int, hop: int, iterations: int) -> int:
  """Returns on how many frames before and after it a frame's audio depends at most."""
  return (iterations + 1) * ((n_fft - 1) // hop)
