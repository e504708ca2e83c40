"""Short-time spectra in numpy: utterances differ in length, so nothing is compiled."""

import numpy as np

from jaxcodec.nn.dsp import hann, mel_filters

N_FFT = 1024


def magnitudes(
  x: np.ndarray, *, n_fft: int, hop: int, window: np.ndarray, center: bool
) -> np.ndarray:
  """|STFT|, (T, n_fft // 2 + 1); a window shorter than n_fft is centred in it.

  Args:
    x: (N,) audio.
    n_fft: transform length, samples.
    hop: step, samples.
    window: at most n_fft values.
    center: zero-pad by n_fft // 2 at both ends.
  """
  x = np.pad(x, n_fft // 2) if center else x
  left = (n_fft - len(window)) // 2
  window = np.pad(window, (left, n_fft - len(window) - left))
  frames = np.lib.stride_tricks.sliding_window_view(x, n_fft)[::hop]
  return np.abs(np.fft.rfft(frames * window)).astype(np.float32)


def log_mel(x: np.ndarray, sample_rate: int, *, hop: int = 256) -> np.ndarray:
  """log10 of 80 mel-weighted magnitudes with a floor of 1e-5, (T, 80)."""
  spectrum = magnitudes(x, n_fft=N_FFT, hop=hop, window=hann(N_FFT), center=True)
  return np.log10(np.maximum(spectrum @ mel_filters(sample_rate, N_FFT, 80), 1e-5))
