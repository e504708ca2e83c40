"""Differentiable downsampling by an integer factor."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.nn.dsp import frame, matmul

_ZERO_CROSSINGS = 24
_ROLLOFF = 0.945


def _reach(factor: int) -> int:
  """Returns how many samples the low-pass filter has before its centre."""
  return math.ceil(_ZERO_CROSSINGS * factor / _ROLLOFF)


@functools.lru_cache(maxsize=8)
def _lowpass(factor: int) -> np.ndarray:
  """Returns a windowed sinc of gain 1, zero-padded to a multiple of `factor` taps."""
  at = np.arange(-_reach(factor), _reach(factor) + factor)
  t = np.clip(_ROLLOFF * at / factor, -_ZERO_CROSSINGS, _ZERO_CROSSINGS)
  taps = np.sinc(t) * np.cos(np.pi * t / (2 * _ZERO_CROSSINGS)) ** 2
  return np.pad(taps / taps.sum(), (0, -len(taps) % factor)).astype(np.float32)


def downsample(x_BxN: jax.Array, factor: int) -> jax.Array:
  """Low-passes audio and keeps every factor-th sample, (B, N // factor).

  Source: J. O. Smith's method as julius.resample_frac has it, which DAC's audiotools
  calls.
  """
  if factor == 1:
    return x_BxN
  taps, length = _lowpass(factor), x_BxN.shape[1] // factor
  around = (_reach(factor), len(taps) - _reach(factor))
  x_BxN = jnp.pad(x_BxN, ((0, 0), around), mode="edge")
  return matmul(frame(x_BxN, len(taps), factor)[:, :length], taps)
