"""The log-mel spectrogram that is measured and drawn."""

import warnings

import numpy as np

N_FFT = 1024
NUM_MELS = 80
FLOOR = 1e-5


def log_mel(x: np.ndarray, sample_rate: int, *, hop: int = 256) -> np.ndarray:
  """Returns log10 of mel-weighted magnitudes by librosa, (T, NUM_MELS) float32.

  Frames are centred on multiples of the hop, zeros around the signal; filters are
  Slaney's, from 0 Hz to half the rate.

  Args:
    x: (N,) float audio.
    sample_rate: Hz.
    hop: samples between frames.
  """
  import librosa  # its parts take a second or two to import

  with warnings.catch_warnings():
    # Of a signal shorter than the window, and of bands narrower than a bin: both have
    # values.
    warnings.simplefilter("ignore")
    mel_MxT = librosa.feature.melspectrogram(
      y=x.astype(np.float32),
      sr=sample_rate,
      n_fft=N_FFT,
      hop_length=hop,
      n_mels=NUM_MELS,
      power=1.0,
    )
  return np.log10(np.maximum(mel_MxT.T, FLOOR))
