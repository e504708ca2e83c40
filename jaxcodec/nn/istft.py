"""Inverse short-time Fourier transform. Source: vocos/spectral_ops.py."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import partition
from jaxcodec.nn.conv import mask_frames, overlap_add
from jaxcodec.nn.dsp import hann
from jaxcodec.nn.reach import Reach

PADDINGS = ("center", "same")
_EMPTY = 1e-11


def check(n_fft: int, hop: int, padding: str) -> None:
  """Raises ValueError if windows of n_fft samples every `hop` samples leave gaps."""
  if padding not in PADDINGS:
    raise ValueError(f"padding must be one of {PADDINGS}, got {padding!r}")
  if n_fft < 2 or n_fft % 2:
    raise ValueError(f"n_fft must be even and positive, got {n_fft}")
  if not 1 <= hop <= n_fft // 2:
    raise ValueError(f"hop must be 1 to n_fft // 2 = {n_fft // 2}, got {hop}")
  if padding == "same" and hop % 2:
    raise ValueError(f"hop must be even with padding 'same', got {hop}")


def istft(
  real_BxTxF: jax.Array,
  imag_BxTxF: jax.Array,
  *,
  n_fft: int,
  hop: int,
  padding: str = "same",
  valid_B: jax.Array | None = None,
) -> jax.Array:
  """Computes audio from the spectra of its Hann-windowed frames, by overlap-add.

  The sum is divided by that of the squared windows of valid frames only, so that an
  item of a padded batch is the same as by itself.

  Args:
    real_BxTxF, imag_BxTxF: spectra, F = n_fft // 2 + 1.
    n_fft: window and transform length, samples.
    hop: step, samples.
    padding: "center" undoes `dsp.stft` with `center`; "same" gives hop samples a
      frame, as a convolution does.
    valid_B: valid frames of each item; all if None.

  Returns:
    (B, (T - 1) * hop) for "center", (B, T * hop) for "same", float32; zeros beyond
    the samples of an item's valid frames.

  Raises:
    ValueError: see `check`.
  """
  check(n_fft, hop, padding)
  T = real_BxTxF.shape[1]
  window = hann(n_fft).reshape(1, 1, n_fft)
  spectrum_BxTxF = lax.complex(real_BxTxF, imag_BxTxF)
  frames_BxTxW = partition.by_rows(lambda s: jnp.fft.irfft(s, n_fft), spectrum_BxTxF)
  frames_BxTxW = frames_BxTxW * window
  total_BxN = _overlap(mask_frames(frames_BxTxW, valid_B), hop)
  ones_BxTx1 = jnp.ones((1 if valid_B is None else len(valid_B), T, 1))
  envelope_BxN = _overlap(mask_frames(ones_BxTx1, valid_B) * window**2, hop)
  centred = padding == "center"
  first = _first(n_fft, hop, padding)
  length = (T - centred) * hop
  total_BxN, envelope_BxN = (
    lax.slice_in_dim(a, first, first + length, axis=1)
    for a in (total_BxN, envelope_BxN)
  )
  y_BxN = total_BxN / jnp.where(envelope_BxN > _EMPTY, envelope_BxN, 1)
  if valid_B is None:
    return y_BxN
  return mask_frames(y_BxN[..., None], (valid_B - centred) * hop)[..., 0]


def istft_reach(n_fft: int, hop: int, padding: str = "same") -> Reach:
  """Returns on which frames the samples of `istft` depend."""
  first = _first(n_fft, hop, padding)
  missing = hop if padding == "center" else 0
  return Reach(up=hop, before=n_fft - hop - first, after=first, missing=missing)


def _first(n_fft, hop, padding):
  """Returns how many samples are cut off at the beginning."""
  return n_fft // 2 if padding == "center" else (n_fft - hop) // 2


def _overlap(frames_BxTxW, hop):
  """Overlap-adds frames, after padding them to whole hops with zeros."""
  missing = -frames_BxTxW.shape[-1] % hop
  frames_BxTxW = jnp.pad(frames_BxTxW, ((0, 0), (0, 0), (0, missing)))
  return overlap_add(frames_BxTxW[..., None], hop)[..., 0]
