"""Predicted mean opinion scores of speech without a reference."""

import importlib.machinery
import pathlib
import sys
import types
import unittest.mock
import warnings

import numpy as np

from jaxcodec import files
from jaxcodec.build.fields import ConfigError
from jaxcodec.evals.audio import prepare
from jaxcodec.evals.metric import EvalClip, Metric, Score
from jaxcodec.evals.models import choose, dnsmos

_RATE = 16_000
# From the raw output to the P.835 scale, highest power first.
_OVERALL_POLYNOMIAL = (-0.06766283, 1.11546468, 0.04602535)


class DnsmosOverall(Metric):
  """DNSMOS P.835 overall quality by the network in the `speechmos` package.

  The network is run directly, on the windows that the package would use. The package
  imports pandas and requests, which the score doesn't need, and does most of the work
  once for each of the nine windows that share a second.

  Source: Reddy et al. 2022, "DNSMOS P.835"; speechmos/dnsmos.py.
  """

  name = "dnsmos_ovrl"
  unit = "MOS"
  better = "higher"
  measures = "DNSMOS P.835 predicted overall quality, 1 to 5, no reference."
  packages = ("speechmos==0.0.1.1", "onnx>=1.17", "onnxruntime>=1.17")

  def __init__(self, *, threads: int = 1):
    self._threads = threads

  @classmethod
  def make(cls, settings):
    return cls(threads=settings.threads)

  def load(self):
    onnx, _ = self.require("onnx", "onnxruntime")
    path = choose.package_file(
      "speechmos", "dnsmos_models/sig_bak_ovr.onnx", self.requirement
    )
    self._network = dnsmos.Dnsmos(path, onnx=onnx, threads=self._threads)
    return {"dnsmos_p835": files.sha256(path)}

  def score(self, clip: EvalClip) -> Score:
    audio = prepare(clip.audio, clip, "audio", rate=_RATE, min_seconds=0.5)
    overall = np.polyval(_OVERALL_POLYNOMIAL, self._network(audio)[:, 2])
    return Score(float(overall.mean()))


class DistillMos(Metric):
  """DistillMOS by the `distillmos` package, which needs PyTorch.

  Source: Stahl and Gamper 2025, "Distillation and pruning for scalable
  self-supervised representation-based speech quality assessment".
  """

  name = "distillmos"
  unit = "MOS"
  better = "higher"
  measures = "DistillMOS predicted quality, 1 to 5, no reference."
  packages = ("torch", "distillmos==0.9.1")

  def __init__(self, *, threads: int = 1):
    self._threads = threads

  @classmethod
  def make(cls, settings):
    return cls(threads=settings.threads)

  def load(self):
    (self._torch,) = self.require("torch")
    self._torch.set_num_threads(self._threads)
    # Only the package's command line uses torchaudio, whose binaries often don't match
    # the installed torch: an empty module takes its place during the import.
    stand_in = {} if "torchaudio" in sys.modules else {"torchaudio": _empty_module()}
    with unittest.mock.patch.dict(sys.modules, stand_in):
      (distillmos,) = self.require("distillmos")
    path = choose.package_file(
      "distillmos", "weights/distill_mos_v7.pt", self.requirement
    )
    self._model = distillmos.ConvTransformerSQAModel().eval()
    return {"distillmos": files.sha256(path)}

  def score(self, clip: EvalClip) -> Score:
    audio = prepare(clip.audio, clip, "audio", rate=_RATE, min_seconds=0.5)
    with self._torch.no_grad():
      return Score(float(self._model(self._torch.from_numpy(audio)[None])[0]))


class Utmos(Metric):
  """UTMOS by a local TorchScript file, which holds code and weights; needs PyTorch.

  The file is `utmos_scripted.pt` of the package `utmos_pytorch`, the strong learner
  of UTMOS, which takes audio (1, N) at 16 kHz.

  Source: Saeki et al. 2022, "UTMOS: UTokyo-SaruLab system for VoiceMOS Challenge 2022";
  utmos_pytorch/utmos_scripted.py for the call.
  """

  name = "utmos"
  unit = "MOS"
  better = "higher"
  packages = ("torch",)
  needs = ("utmos",)

  def __init__(self, path: str | None, *, threads: int = 1):
    """Sets the model's file, which `load` reads.

    Raises:
      ConfigError: there is no such file.
    """
    if path is None or not pathlib.Path(path).expanduser().is_file():
      raise ConfigError(
        "evaluate.utmos: the metric utmos needs the path of UTMOS in TorchScript,"
        f" utmos_scripted.pt of utmos_pytorch; {path!r} is not a file"
      )
    self._path, self._threads = pathlib.Path(path).expanduser(), threads
    self.measures = (
      f"UTMOS predicted naturalness by {self._path.name}, 1 to 5, no reference."
    )

  @classmethod
  def make(cls, settings):
    return cls(settings.utmos, threads=settings.threads)

  def load(self):
    (self._torch,) = self.require("torch")
    self._torch.set_num_threads(self._threads)
    try:
      with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch prefers its newer format.
        self._model = self._torch.jit.load(self._path, map_location="cpu").eval()
    except RuntimeError as error:
      raise ValueError(f"{self._path}: not a TorchScript file ({error})") from None
    return {"utmos": files.sha256(self._path)}

  def score(self, clip: EvalClip) -> Score:
    audio = prepare(clip.audio, clip, "audio", rate=_RATE, min_seconds=0.5)
    with self._torch.no_grad():
      return Score(float(self._model(self._torch.from_numpy(audio)[None])))


def _empty_module() -> types.ModuleType:
  module = types.ModuleType("torchaudio")
  module.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
  return module
