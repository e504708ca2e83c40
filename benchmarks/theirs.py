"""The original PyTorch side of the benchmark, eager or compiled.

The weight norms are multiplied out, as ours are: an original's user would do it too.
"""

import importlib.util
import pathlib

import numpy as np
import torch
from side import BANDWIDTH, speech_like

from jaxcodec import presets

_PACKAGES = pathlib.Path(__file__).parents[1] / "tests" / "parity" / "originals.py"


class Theirs:
  """A preset of the original package; random weights, kept in the folder."""

  def __init__(self, preset, folder, compiled):
    torch.manual_seed(0)
    make = {"dac": _Dac, "encodec": _Encodec, "vocos": _Vocos}[preset.split("_")[0]]
    with torch.inference_mode():
      self._model = make(preset, _packages())
      self._model.module.eval()
      if not compiled:
        for name, module in self._model.modules().items():
          torch.save(module.state_dict(), folder / name)
        np.savez(folder / "probe.npz", **self._model.probe())
    _fold(self._model.module)
    self.functions, self.inputs = self._model.functions, self._model.inputs
    if compiled:
      compiled = {n: torch.compile(f, dynamic=False) for n, f in self.functions.items()}
      self.functions = compiled

  @torch.inference_mode()
  def run(self, what, inputs):
    return self.functions[what](inputs)


class _Codec:
  """What DAC and EnCodec share: inputs, and the answer to a probe."""

  def modules(self):
    """What is saved, by the name of its file."""
    return {"weights.pth": self.module}

  def inputs(self, what, items, seconds):
    if what == "encode":
      N = -(-seconds * self.rate // self.hop) * self.hop
      return self._audio(items, N)
    T = -(-seconds * self.rate // self.hop)
    if what == "rvq encode":
      return torch.randn(items, self.width, T)
    return torch.randint(self.size, (items, self.books, T))

  def probe(self):
    samples = 300 * self.hop
    codes = self.functions["encode"](self._audio(1, samples))
    audio = self.functions["decode"](codes).numpy()
    sizes = {"books": self.books, "samples": samples}
    return {"codes": codes.numpy(), "audio": audio, **sizes}

  def _audio(self, items, samples):
    audio_BxNxC = speech_like(items, samples, self.channels)
    return torch.from_numpy(audio_BxNxC).transpose(1, 2).contiguous()


class _Dac(_Codec):
  def __init__(self, preset, packages):
    packages.dac()
    from dac.model.dac import DAC

    config = presets.preset(preset)
    strides = list(config["encoder"]["strides"])
    self.rate, self.channels = config["sample_rate"], 1
    self.books = config["quantizer"]["num_codebooks"]
    self.module = DAC(
      encoder_rates=strides,
      decoder_rates=strides[::-1],
      n_codebooks=self.books,
      sample_rate=self.rate,
    )
    self.hop, self.size = int(self.module.hop_length), 1024
    self.width = self.module.latent_dim
    quantizer = self.module.quantizer
    self.functions = {
      "encode": lambda x: self.module.encode(x)[1],
      "decode": lambda c: self.module.decode(quantizer.from_codes(c)[0]),
      "rvq encode": lambda z: quantizer(z)[1],
      "rvq decode": lambda c: quantizer.from_codes(c)[0],
    }


class _Encodec(_Codec):
  def __init__(self, preset, packages):
    model = packages.encodec().EncodecModel
    rate = preset.split("_")[1].removesuffix("hz")
    self.module = getattr(model, f"encodec_model_{rate}hz")(pretrained=False)
    self.module.set_target_bandwidth(BANDWIDTH)
    self.rate, self.channels = self.module.sample_rate, self.module.channels
    self.hop, self.size, self.width = 320, 1024, self.module.quantizer.dimension
    self.books = round(BANDWIDTH * 1000 / (self.rate / self.hop) / 10)
    self._spread_codebooks()
    quantizer, frame_rate = self.module.quantizer, self.module.frame_rate
    self.functions = {
      "encode": lambda x: torch.cat([c for c, _ in self.module.encode(x)], -1),
      "decode": lambda c: self.module.decode(self._frames(c)),
      "rvq encode": lambda z: quantizer.encode(z, frame_rate, BANDWIDTH),
      "rvq decode": lambda c: quantizer.decode(c.transpose(0, 1)),
    }

  def _frames(self, codes):
    """Codes cut into the segments of 48 kHz, at a level of one."""
    length = self.module.segment_length
    cut = codes.split(length // self.hop, -1) if length else [codes]
    scale = torch.ones(len(codes), 1) if length else None
    return [(part, scale) for part in cut]

  def _spread_codebooks(self):
    """Random codes as large as what is left to code, so that all get used."""
    left = self.module.encoder(self._audio(4, self.rate))
    for layer in self.module.quantizer.vq.layers:
      book = layer._codebook
      vectors = left.transpose(1, 2).reshape(-1, left.shape[1])
      chosen = torch.randint(len(vectors), (self.size,))
      noise = vectors.std() * torch.randn_like(book.embed)
      book.embed.copy_(vectors[chosen] + noise)
      book.inited.fill_(1)
      left = left - layer.decode(layer.encode(left))


class _Vocos:
  def __init__(self, preset, packages):
    packages.vocos()
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    config = presets.preset(preset)["decoder"]
    rows = config.get("bandwidth_codebooks")
    self._width = 128 if rows else 100
    self._hop, n_fft = config["hop"], config["n_fft"]
    backbone = VocosBackbone(
      self._width,
      config["width"],
      config["mlp_width"],
      config["depth"],
      adanorm_num_embeddings=len(rows) if rows else None,
    )
    head = ISTFTHead(config["width"], n_fft, self._hop, config["padding"])
    self.module = torch.nn.ModuleDict(dict(backbone=backbone, head=head))
    row = {"bandwidth_id": torch.tensor([2])} if rows else {}
    self.functions = {"decode": lambda z: head(backbone(z, **row))}
    self._beside = {}
    if rows:  # files of Vocos leave the encoder and the codebooks to EnCodec's own
      encodec = _Encodec("encodec_24khz", packages).module
      self._beside = {"encodec_24khz.th": encodec}

  def modules(self):
    return {"weights.pth": self.module, **self._beside}

  def inputs(self, what, items, seconds):
    return torch.randn(items, self._width, -(-seconds * 24_000 // self._hop))

  def probe(self):
    features = self.inputs("decode", 1, 2)
    audio = self.functions["decode"](features)
    return {"features": features.numpy(), "audio": audio.numpy()}


def _fold(module):
  for child in module.modules():
    try:
      torch.nn.utils.remove_weight_norm(child)
    except ValueError:  # it has none
      pass


def _packages():
  """What makes the original packages importable side by side."""
  spec = importlib.util.spec_from_file_location("originals", _PACKAGES)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
