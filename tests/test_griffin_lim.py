"""Griffin-Lim against librosa's, closed forms, and each item of a batch alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import dsp
from jaxcodec.nn.griffin_lim import fixed_phase, griffin_lim, reach, stft

N_FFT, HOP, RATE = 256, 64, 8_000
SIZES = dict(n_fft=N_FFT, hop=HOP)


def _voiced(frames, seed=0):
  """Harmonics of a gliding pitch under a falling spectrum, with a little noise."""
  t = np.arange(frames * HOP) / RATE
  turns = np.cumsum(110 + 30 * np.sin(5 * t)) / RATE
  x = sum(np.cos(2 * np.pi * k * turns + k * k) / k for k in range(1, 20))
  noise = np.random.default_rng(seed).standard_normal(len(t))
  return (0.1 * x + 1e-3 * noise).astype(np.float32)


def _distance(magnitude, other):
  """Spectral convergence."""
  return np.linalg.norm(magnitude - other) / np.linalg.norm(magnitude)


@functools.partial(jax.jit, static_argnames="iterations")
def _invert(magnitude_BxTxF, valid_B=None, phase_BxTxF=None, iterations=32):
  return griffin_lim(
    magnitude_BxTxF,
    **SIZES,
    iterations=iterations,
    phase_BxTxF=phase_BxTxF,
    valid_B=valid_B,
  )


@pytest.mark.parametrize("iterations", [8, 32])
def test_it_comes_at_least_as_near_as_librosas(iterations):
  librosa = pytest.importorskip("librosa")
  x = _voiced(128)
  spectrum = np.abs(librosa.stft(x, n_fft=N_FFT, hop_length=HOP))
  theirs = librosa.griffinlim(
    spectrum, n_iter=iterations, hop_length=HOP, n_fft=N_FFT, random_state=0
  )
  found = np.abs(librosa.stft(theirs, n_fft=N_FFT, hop_length=HOP))
  magnitude = dsp.magnitude(*stft(x[None], **SIZES))
  ours = _invert(magnitude, iterations=iterations)
  again = dsp.magnitude(*stft(ours, **SIZES))
  assert _distance(magnitude, again) <= _distance(spectrum, found)


def test_the_right_phase_gives_the_audio_back():
  x = _voiced(40)[None]
  real, imag = stft(x, **SIZES)
  phase = jnp.arctan2(imag, real)
  y = _invert(dsp.magnitude(real, imag), phase_BxTxF=phase)
  np.testing.assert_allclose(y, x, atol=1e-4)


def test_phases_depend_on_a_frames_place_alone():
  whole = np.asarray(fixed_phase(30, 129))
  np.testing.assert_array_equal(fixed_phase(10, 129, first=7), whole[:, 7:17])
  assert whole.min() >= 0 and whole.max() < 2 * np.pi
  turns = np.exp(1j * whole)
  assert abs(turns.mean()) < 0.05 and abs((turns[:, 1:] / turns[:, :-1]).mean()) < 0.05


def test_a_part_sounds_as_in_the_whole_beyond_the_reach():
  magnitude = dsp.magnitude(*stft(_voiced(100)[None], **SIZES))
  first, length, iterations = 20, 60, 4
  around = reach(N_FFT, HOP, iterations)
  assert around == 15
  run = functools.partial(griffin_lim, **SIZES, iterations=iterations)
  whole = np.asarray(run(magnitude))
  part = np.asarray(run(magnitude[:, first : first + length], first=first))
  inside = slice(around * HOP, (length - around) * HOP)
  moved = whole[:, first * HOP :][:, inside]
  np.testing.assert_allclose(part[:, inside], moved, atol=1e-5)
  assert np.abs(part[:, : 2 * HOP] - whole[:, first * HOP :][:, : 2 * HOP]).max() > 1e-3


def test_padding_has_no_influence():
  lengths = [30, 17, 1]
  magnitude = np.full((3, 30, N_FFT // 2 + 1), np.nan, np.float32)
  for row, frames in enumerate(lengths):
    x = _voiced(frames, seed=row)[None]
    magnitude[row, :frames] = dsp.magnitude(*stft(x, **SIZES))[0]
  y = _invert(magnitude, jnp.array(lengths), iterations=8)
  assert np.isfinite(y).all()
  for row, frames in enumerate(lengths):
    alone = _invert(magnitude[row : row + 1, :frames], iterations=8)
    assert np.abs(alone).max() > 0.01
    np.testing.assert_allclose(y[row, : frames * HOP], alone[0], atol=1e-4)
    assert not y[row, frames * HOP :].any()


def test_the_gradient_is_finite_also_of_silence():
  magnitude = dsp.magnitude(*stft(_voiced(6)[None], **SIZES)).at[:, 3].set(0)
  grad = jax.grad(lambda m: (_invert(m, iterations=3) ** 2).sum())(magnitude)
  assert np.isfinite(grad).all() and grad.any()


@pytest.mark.parametrize(
  "fields,match",
  [
    (dict(iterations=0), "iterations must be positive, got 0"),
    (dict(momentum=-1.0), "momentum must not be negative"),
    (dict(n_fft=128), "n_fft // 2 \\+ 1 = 65 bins, got 129"),
    (dict(hop=200), "hop must be 1 to"),
  ],
)
def test_what_cannot_be_is_an_error(fields, match):
  with pytest.raises(ValueError, match=match):
    griffin_lim(jnp.zeros((1, 2, 129)), **{**SIZES, **fields})
