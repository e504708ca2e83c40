"""Distances between waveforms."""

import jax
import jax.numpy as jnp


def waveform_l1(x_BxN: jax.Array, y_BxN: jax.Array) -> jax.Array:
  """Mean |x - y|, a scalar; EnCodec's loss in the time domain."""
  return jnp.abs(x_BxN - y_BxN).mean()


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
