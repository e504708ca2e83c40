import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import dsp
from jaxcodec.nn.cpu import sin_cos
from jaxcodec.nn.resample import downsample

signal = pytest.importorskip("scipy.signal")


@pytest.mark.parametrize("n_fft,hop", [(32, 8), (256, 64), (512, 128), (400, 160)])
def test_stft_equals_scipy(n_fft, hop):
  x = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
  real, imag = dsp.stft(jnp.asarray(x)[None], n_fft=n_fft, hop=hop, center=False)
  stft = signal.ShortTimeFFT(
    signal.get_window("hann", n_fft), hop=hop, fs=1, phase_shift=None
  )
  first = -(-(n_fft // 2) // hop) if n_fft % hop == 0 else None
  at = range(real.shape[1])
  expected = [
    np.fft.rfft(x[i * hop : i * hop + n_fft] * signal.get_window("hann", n_fft))
    for i in at
  ]
  np.testing.assert_allclose(real[0] + 1j * imag[0], expected, atol=2e-4)
  if first is not None:  # scipy's frames are centred on multiples of the hop
    scipys = stft.stft(x)[:, first - stft.p_min : first - stft.p_min + len(expected)]
    np.testing.assert_allclose(real[0] + 1j * imag[0], scipys.T, atol=2e-4)


def test_centred_stft_has_one_frame_a_hop_and_one_more():
  real, _ = dsp.stft(jnp.zeros((2, 1000)), n_fft=64, hop=16)
  assert real.shape == (2, 1 + 1000 // 16, 33)


@pytest.mark.parametrize("sr,n_fft,n_mels", [(16_000, 512, 80), (44_100, 2048, 320)])
def test_mel_filters_equal_librosa(sr, n_fft, n_mels):
  librosa = pytest.importorskip("librosa")
  expected = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels).T
  np.testing.assert_allclose(dsp.mel_filters(sr, n_fft, n_mels), expected, atol=1e-7)


def test_htk_mel_filters_equal_librosa():
  librosa = pytest.importorskip("librosa")
  expected = librosa.filters.mel(sr=24_000, n_fft=1024, n_mels=100, htk=True, norm=None)
  ours = dsp.mel_filters(24_000, 1024, 100, scale="htk")
  np.testing.assert_allclose(ours, expected.T, atol=1e-6)


def test_items_are_mirrored_about_their_own_ends():
  x = np.random.default_rng(0).standard_normal((3, 9)).astype(np.float32)
  lengths = [9, 3, 1]
  for row, length in zip(x, lengths, strict=True):
    row[length:] = np.nan
  y = dsp.reflect_pad(jnp.asarray(x), 4, jnp.array(lengths))
  for row, length in enumerate(lengths):
    expected = np.pad(x[row, :length], 4, mode="reflect")
    np.testing.assert_array_equal(y[row, : length + 8], expected)
    assert not y[row, length + 8 :].any()


def test_magnitude_of_nothing_is_nothing():
  real, imag = jnp.array([0.0, 3.0, 1e-9]), jnp.array([0.0, 4.0, 0.0])
  np.testing.assert_allclose(dsp.magnitude(real, imag), [0, 5, 1e-9], rtol=1e-6)


def test_sine_and_cosine():
  u = np.concatenate([np.linspace(-20, 20, 2001), [0.5 * np.pi, 1e3, -1e4]])
  u = u.astype(np.float32)
  for ours, expected in zip(sin_cos(u), (np.sin, np.cos), strict=True):
    np.testing.assert_allclose(ours, expected(u.astype(np.float64)), atol=5e-7)
  slope = jax.vmap(jax.grad(lambda u: sin_cos(u)[0] + 2 * sin_cos(u)[1]))(u)
  np.testing.assert_allclose(slope, np.cos(u) - 2 * np.sin(u), atol=2e-6)


def test_gradient_of_silence_is_finite():
  def total(x):
    return dsp.mel_spectrogram(x, sample_rate=16_000, n_fft=64, hop=16, n_mels=10).sum()

  assert np.isfinite(jax.grad(total)(jnp.zeros((1, 640)))).all()


def test_downsampling_keeps_what_is_below_the_new_rate():
  t = np.arange(4001) / 4000
  low, high = np.cos(2 * np.pi * 150 * t), np.cos(2 * np.pi * 1400 * t)
  y = downsample(jnp.asarray([1 + low, high], jnp.float32), 2)
  assert y.shape == (2, 2000)
  inside = slice(60, -60)
  np.testing.assert_allclose(y[0, inside], (1 + low)[:-1:2][inside], atol=1e-3)
  assert jnp.abs(y[1, inside]).max() < 1e-3
