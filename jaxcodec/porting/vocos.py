"""Vocos's weights and configs. Source: vocos/pretrained.py (vocos 0.1.0)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.nn import dsp
from jaxcodec.porting.table import CONV1D, Layout, Rule, permuted

_LINEAR = permuted(1, 0)
_BLOCK = r"backbone\.convnext\.(\d+)"
_OURS = "params/decoder"


def _layer(torch: str, flax: str, layout: Layout) -> list[Rule]:
  return [
    Rule(rf"{torch}\.weight", f"{flax}/kernel", layout),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
  ]


def _norm(torch: str, flax: str) -> list[Rule]:
  """A layer norm, or one with rows of gains and shifts."""
  return [
    Rule(rf"{torch}\.weight", f"{flax}/scale"),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
    Rule(rf"{torch}\.scale\.weight", f"{flax}/scales"),
    Rule(rf"{torch}\.shift\.weight", f"{flax}/shifts"),
  ]


DECODER = (
  *_layer(r"backbone\.embed", f"{_OURS}/backbone/embed", CONV1D),
  *_norm(r"backbone\.(norm|final_layer_norm)", rf"{_OURS}/backbone/\1"),
  *_norm(rf"{_BLOCK}\.norm", rf"{_OURS}/backbone/convnext_\1/norm"),
  *_layer(rf"{_BLOCK}\.dwconv", rf"{_OURS}/backbone/convnext_\1/dwconv", CONV1D),
  *_layer(
    rf"{_BLOCK}\.(pwconv1|pwconv2)", rf"{_OURS}/backbone/convnext_\1/\2", _LINEAR
  ),
  Rule(rf"{_BLOCK}\.gamma", rf"{_OURS}/backbone/convnext_\1/gamma"),
  *_layer(r"head\.out", f"{_OURS}/head/out", _LINEAR),
  Rule(r"head\.istft\.window", None),
)
VOCODER = (
  *DECODER,
  Rule(r"feature_extractor\.mel_spec\.spectrogram\.window", None),
  Rule(r"feature_extractor\.mel_spec\.mel_scale\.fb", None),
)


def buffers(n_fft: int, mel: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
  """What the original keeps in its state dict besides parameters.

  Equal to the original's up to rounding.

  Args:
    n_fft: samples, of the decoder.
    mel: `sample_rate`, `n_fft` and `n_mels` of the features of a vocoder.
  """
  state = {"head.istft.window": dsp.hann(n_fft)}
  if mel is not None:
    root = "feature_extractor.mel_spec"
    state[f"{root}.spectrogram.window"] = dsp.hann(mel["n_fft"])
    state[f"{root}.mel_scale.fb"] = dsp.mel_filters(**mel, scale="htk")
  return state


class Parts(NamedTuple):
  """The state dict of a model on EnCodec's tokens, taken apart.

  Attributes:
    decoder: what `DECODER` knows.
    encodec: EnCodec's own state dict; empty in published files, which leave it out.
    codebooks_KxVxD: EnCodec's first codebooks, as Vocos has them; None without them.
  """

  decoder: dict[str, np.ndarray]
  encodec: dict[str, np.ndarray]
  codebooks_KxVxD: np.ndarray | None


def parts(state: Mapping[str, np.ndarray], codebook_size: int = 1024) -> Parts:
  """Takes apart a state dict of a model with EnCodec's features.

  Raises:
    ValueError: the codebooks are not a whole number of `codebook_size` codes.
  """
  rest, encodec, root = dict(state), {}, "feature_extractor.encodec."
  books = rest.pop("feature_extractor.codebook_weights", None)
  for name in state:
    if name.startswith(root):
      encodec[name.removeprefix(root)] = rest.pop(name)
  if books is not None:
    if len(books) % codebook_size:
      raise ValueError(
        "feature_extractor.codebook_weights must have whole codebooks of"
        f" {codebook_size} codes, got {len(books)}"
      )
    books = books.reshape(-1, codebook_size, books.shape[-1])
  return Parts(rest, encodec, books)


_BACKBONE_FIELDS = dict(dim="width", intermediate_dim="mlp_width", num_layers="depth")
_HEAD_FIELDS = dict(n_fft="n_fft", hop_length="hop", padding="padding")
_MEL_FIELDS = dict(_HEAD_FIELDS, sample_rate="sample_rate", n_mels="n_mels")


def decoder_fields(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `VocosDecoder` from a `config.yaml` of Vocos, read as data.

  Raises:
    ValueError: another backbone or head, or an argument that ours has no place for.
  """
  backbone = _arguments(config, "backbone", "VocosBackbone")
  head = _arguments(config, "head", "ISTFTHead")
  for name in ("input_channels", "layer_scale_init_value"):
    backbone.pop(name, None)  # the weights say both
  conditions = backbone.pop("adanorm_num_embeddings", None)
  head.pop("dim", None)
  fields = {
    **_renamed(backbone, _BACKBONE_FIELDS, "backbone"),
    **_renamed({"padding": "same", **head}, _HEAD_FIELDS, "head"),
  }
  if conditions is None:
    return fields
  books = bandwidth_codebooks(config)
  if len(books) != conditions:
    raise ValueError(
      f"backbone.adanorm_num_embeddings is {conditions}, but there are"
      f" {len(books)} bandwidths"
    )
  return dict(fields, bandwidth_codebooks=books)


def mel_fields(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `MelFeatures` from a `config.yaml`; errors as in `decoder_fields`."""
  given = _arguments(config, "feature_extractor", "MelSpectrogramFeatures")
  return _renamed(given, _MEL_FIELDS, "feature_extractor")


def bandwidth_codebooks(config: Mapping[str, Any]) -> Sequence[int]:
  """How many codebooks each bandwidth of EnCodec's features is.

  Raises:
    ValueError: other features, or other than EnCodec's 24 kHz model.
  """
  given = _arguments(config, "feature_extractor", "EncodecFeatures")
  model = given.get("encodec_model", "encodec_24khz")
  if model != "encodec_24khz":
    raise ValueError(f"feature_extractor.encodec_model {model!r} is not supported")
  kbps = given.get("bandwidths", (1.5, 3.0, 6.0, 12.0))
  return tuple(int(rate / 0.75) for rate in kbps)  # 75 frames/s of 10 bits a codebook


def _arguments(config, part, class_name):
  """The `init_args` of a part that must be of this class."""
  given = config.get(part) or {}
  found = str(given.get("class_path", "")).rsplit(".", 1)[-1]
  if found != class_name:
    raise ValueError(f"{part}.class_path must be vocos's {class_name}, got {found!r}")
  return dict(given.get("init_args") or {})


def _renamed(given, names, part):
  if unknown := sorted(given.keys() - names.keys()):
    raise ValueError(f"{part}: unknown arguments {unknown}; known: {sorted(names)}")
  return {names[name]: value for name, value in given.items()}
