"""Imports the original PyTorch packages and makes small models; skips if absent.

descript-audio-codec is installed without its dependencies (they clash with this
package's), so the two classes of audiotools that its models use are stood in for here.
"""

import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")


class _BaseModel(torch.nn.Module):
  INTERN: list = []
  EXTERN: list = []

  @property
  def device(self):
    return next(self.parameters()).device


class _AudioSignal:
  """A signal with the STFT that `match_stride` asks for, and resampling."""

  def __init__(self, audio, sample_rate=None, stft_params=None):
    self.audio_data, self._params = audio, stft_params
    self._rate = sample_rate

  def resample(self, rate):
    julius = pytest.importorskip("julius")
    self.audio_data = julius.resample_frac(self.audio_data, self._rate, rate)

  def stft(self):
    window, hop = self._params.window_length, self._params.hop_length
    x_BxN = self.audio_data[:, 0]
    pad = (window - hop) // 2
    right = -x_BxN.shape[-1] % hop
    x_BxN = torch.nn.functional.pad(x_BxN, (pad, pad + right), mode="reflect")
    spectrum = torch.stft(
      x_BxN, window, hop, window=torch.hann_window(window), return_complex=True
    )
    return spectrum[:, None, :, 2:-2]


class _STFTParams(types.SimpleNamespace):
  pass


def dac():
  """Imports `dac`, with a stand-in for audiotools."""
  if "dac" not in sys.modules:
    tools, ml = types.ModuleType("audiotools"), types.ModuleType("audiotools.ml")
    ml.BaseModel = _BaseModel
    tools.AudioSignal, tools.STFTParams, tools.ml = _AudioSignal, _STFTParams, ml
    stand_ins = {"audiotools": tools, "audiotools.ml": ml}
    stand_ins["dac.utils"] = types.ModuleType("dac.utils")  # pulls in the rest
    sys.modules.update(stand_ins)
  return pytest.importorskip("dac")


def _without_torchaudios_extension():
  """Lets torchaudio load without its compiled part, which may need another torch."""
  extension = types.ModuleType("torchaudio._extension")
  extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
  extension._check_cuda_version = lambda: None
  extension.fail_if_no_align = lambda function: function
  sys.modules.setdefault("torchaudio._extension", extension)


def encodec():
  """Imports `encodec`, which needs torchaudio."""
  _without_torchaudios_extension()
  return pytest.importorskip("encodec")


def transformers():
  """Imports `transformers`, which imports torchaudio if that is installed."""
  _without_torchaudios_extension()
  return pytest.importorskip("transformers")


def vocos():
  """Imports `vocos`, which needs `encodec`."""
  encodec()
  return pytest.importorskip("vocos")


def state(module):
  """Returns a module's state dict as numpy arrays."""
  return {k: v.detach().numpy() for k, v in module.state_dict().items()}


def shaken(module):
  """Adds noise to all parameters and returns the module in eval mode."""
  with torch.no_grad():
    for parameter in module.parameters():
      parameter.add_(0.2 * torch.randn_like(parameter))
  return module.eval()


def noise(*shape, seed=0, scale=0.1):
  return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)
