"""Rules for Vocos' weights, and the reading of its `config.yaml`.

Source of the names: vocos/pretrained.py (vocos 0.1.0).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.nn import dsp
from jaxcodec.porting.table import CONV1D, Layout, Rule, permuted

_LINEAR = permuted(1, 0)
_BLOCK = r"backbone\.convnext\.(\d+)"
_OURS = "params/decoder"


def _layer_rules(torch: str, flax: str, layout: Layout) -> list[Rule]:
  return [
    Rule(rf"{torch}\.weight", f"{flax}/kernel", layout),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
  ]


def _norm_rules(torch: str, flax: str) -> list[Rule]:
  """Returns the rules of a layer norm, plain or with a gain and shift per condition."""
  return [
    Rule(rf"{torch}\.weight", f"{flax}/scale"),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
    Rule(rf"{torch}\.scale\.weight", f"{flax}/scales"),
    Rule(rf"{torch}\.shift\.weight", f"{flax}/shifts"),
  ]


DECODER = (
  *_layer_rules(r"backbone\.embed", f"{_OURS}/backbone/embed", CONV1D),
  *_norm_rules(r"backbone\.(norm|final_layer_norm)", rf"{_OURS}/backbone/\1"),
  *_norm_rules(rf"{_BLOCK}\.norm", rf"{_OURS}/backbone/convnext_\1/norm"),
  *_layer_rules(rf"{_BLOCK}\.dwconv", rf"{_OURS}/backbone/convnext_\1/dwconv", CONV1D),
  *_layer_rules(
    rf"{_BLOCK}\.(pwconv1|pwconv2)", rf"{_OURS}/backbone/convnext_\1/\2", _LINEAR
  ),
  Rule(rf"{_BLOCK}\.gamma", rf"{_OURS}/backbone/convnext_\1/gamma"),
  *_layer_rules(r"head\.out", f"{_OURS}/head/out", _LINEAR),
  Rule(r"head\.istft\.window", None),
)
VOCODER = (
  *DECODER,
  Rule(r"feature_extractor\.mel_spec\.spectrogram\.window", None),
  Rule(r"feature_extractor\.mel_spec\.mel_scale\.fb", None),
)


def compute_buffers(
  n_fft: int, mel: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
  """Computes the windows and filters that the original has in its state dict.

  They equal the original's up to rounding.

  Args:
    n_fft: length of the decoder's window, in samples.
    mel: `sample_rate`, `n_fft` and `n_mels` of a vocoder's features; None for a
      decoder of EnCodec's tokens.
  """
  state = {"head.istft.window": dsp.hann(n_fft)}
  if mel is not None:
    root = "feature_extractor.mel_spec"
    state[f"{root}.spectrogram.window"] = dsp.hann(mel["n_fft"])
    state[f"{root}.mel_scale.fb"] = dsp.mel_filters(**mel, scale="htk")
  return state


class SplitState(NamedTuple):
  """Holds the parts of the state dict of a Vocos on EnCodec's tokens.

  Attributes:
    decoder: the arrays that `DECODER` has rules for.
    encodec: EnCodec's own state dict; empty for published files, which leave it out.
    codebooks_KxVxD: Vocos' copy of EnCodec's first codebooks; None if absent.
  """

  decoder: dict[str, np.ndarray]
  encodec: dict[str, np.ndarray]
  codebooks_KxVxD: np.ndarray | None


def split_state(
  state: Mapping[str, np.ndarray], codebook_size: int = 1024
) -> SplitState:
  """Splits the state dict of a Vocos on EnCodec's tokens into its parts.

  Raises:
    ValueError: the rows of codebooks are not a multiple of `codebook_size`.
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
  return SplitState(rest, encodec, books)


_BACKBONE_FIELDS = dict(dim="width", intermediate_dim="mlp_width", num_layers="depth")
_HEAD_FIELDS = dict(n_fft="n_fft", hop_length="hop", padding="padding")
_MEL_FIELDS = dict(_HEAD_FIELDS, sample_rate="sample_rate", n_mels="n_mels")


def decoder_fields(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields of `VocosDecoder` that a `config.yaml` of Vocos describes.

  Only data is read; the classes it names are not imported.

  Raises:
    ValueError: names another backbone or head, or an argument that we don't support.
  """
  backbone = _read_arguments(config, "backbone", "VocosBackbone")
  head = _read_arguments(config, "head", "ISTFTHead")
  for name in ("input_channels", "layer_scale_init_value"):
    backbone.pop(name, None)  # both can be seen from the weights
  conditions = backbone.pop("adanorm_num_embeddings", None)
  head.pop("dim", None)
  fields = {
    **_rename(backbone, _BACKBONE_FIELDS, "backbone"),
    **_rename({"padding": "same", **head}, _HEAD_FIELDS, "head"),
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
  """Returns the fields of `MelFeatures`; raises as `decoder_fields` does."""
  given = _read_arguments(config, "feature_extractor", "MelSpectrogramFeatures")
  return _rename(given, _MEL_FIELDS, "feature_extractor")


def bandwidth_codebooks(config: Mapping[str, Any]) -> Sequence[int]:
  """Returns the number of codebooks of each bandwidth of EnCodec's features.

  Raises:
    ValueError: the features are not those of EnCodec's 24 kHz model.
  """
  given = _read_arguments(config, "feature_extractor", "EncodecFeatures")
  model = given.get("encodec_model", "encodec_24khz")
  if model != "encodec_24khz":
    raise ValueError(f"feature_extractor.encodec_model {model!r} is not supported")
  kbps = given.get("bandwidths", (1.5, 3.0, 6.0, 12.0))
  return tuple(int(rate / 0.75) for rate in kbps)  # 75 frames/s of 10 bits a codebook


def _read_arguments(config, part, class_name):
  """Returns the `init_args` of a part of the config, after checking its class."""
  given = config.get(part) or {}
  found = str(given.get("class_path", "")).rsplit(".", 1)[-1]
  if found != class_name:
    raise ValueError(f"{part}.class_path must be vocos's {class_name}, got {found!r}")
  return dict(given.get("init_args") or {})


def _rename(given, names, part):
  if unknown := sorted(given.keys() - names.keys()):
    raise ValueError(f"{part}: unknown arguments {unknown}; known: {sorted(names)}")
  return {names[name]: value for name, value in given.items()}
