"""HuBERT's weights. Source: transformers' modeling_hubert.py, HubertModel."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec import files
from jaxcodec.porting import readers
from jaxcodec.porting.table import CONV1D, Layout, Rule, permuted, to_flax
from jaxcodec.semantic.hubert import Hubert

_LINEAR = permuted(1, 0)
_LAYER, _OURS = r"encoder\.layers\.(\d+)", r"params/layers_\1"
_POSITION = r"encoder\.pos_conv_embed\.conv"


def _both(torch: str, flax: str, name: str, layout: Layout | None = None) -> list[Rule]:
  """Weight, by our `name`, and bias."""
  return [
    Rule(rf"{torch}\.weight", f"{flax}/{name}", layout),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
  ]


RULES = (
  Rule(
    r"feature_extractor\.conv_layers\.(\d+)\.conv\.weight",
    r"params/conv_layers_\1/kernel",
    CONV1D,
  ),
  *_both(r"feature_extractor\.conv_layers\.0\.layer_norm", "params/conv_norm", "scale"),
  *_both(r"feature_projection\.layer_norm", "params/projection_norm", "scale"),
  *_both(r"feature_projection\.projection", "params/projection", "kernel", _LINEAR),
  Rule(rf"{_POSITION}\.weight_v", "params/position/kernel", CONV1D),
  Rule(rf"{_POSITION}\.weight_g", "params/position/scale", CONV1D),
  Rule(rf"{_POSITION}\.bias", "params/position/bias"),
  *_both(r"encoder\.layer_norm", "params/encoder_norm", "scale"),
  *_both(
    rf"{_LAYER}\.attention\.(q_proj|k_proj|v_proj|out_proj)",
    rf"{_OURS}/\2",
    "kernel",
    _LINEAR,
  ),
  *_both(
    rf"{_LAYER}\.feed_forward\.(intermediate_dense|output_dense)",
    rf"{_OURS}/\2",
    "kernel",
    _LINEAR,
  ),
  *_both(rf"{_LAYER}\.(layer_norm|final_layer_norm)", rf"{_OURS}/\2", "scale"),
  # What training hid frames with, and a recogniser's last layer.
  Rule(r"masked_spec_embed", None),
  Rule(r"lm_head\.(weight|bias)", None),
)

# transformers' names of what ours has as attributes; defaults are those of both.
_FIELDS = {
  "hidden_size": "width",
  "intermediate_size": "mlp_width",
  "num_hidden_layers": "depth",
  "num_attention_heads": "heads",
  "conv_kernel": "kernels",
  "conv_stride": "strides",
  "num_conv_pos_embeddings": "position_taps",
  "num_conv_pos_embedding_groups": "position_groups",
  "layer_norm_eps": "epsilon",
}
# What the base model's layout is; others are other computations.
_LAYOUT = {
  "model_type": "hubert",
  "feat_extract_norm": "group",
  "feat_extract_activation": "gelu",
  "hidden_act": "gelu",
  "conv_bias": False,
  "conv_pos_batch_norm": False,
  "feat_proj_layer_norm": True,
  "do_stable_layer_norm": False,
}


class Weights(NamedTuple):
  """What a published file or folder holds.

  Attributes:
    model: HuBERT of its sizes.
    params: its parameters, numpy arrays.
  """

  model: Hubert
  params: dict[str, Any]


def load(path: files.PathLike) -> Weights:
  """Reads weights of transformers' HubertModel or HubertForCTC.

  Args:
    path: a folder with `config.json`, or a file, which is taken to be of the base
      model; see `readers`.

  Raises:
    FileNotFoundError, ValueError: naming the file; another layout than the base
      model's, or everything that is missing, left over or misshapen.
  """
  state, config = readers.read(path)
  state = {name.removeprefix("hubert."): array for name, array in state.items()}
  try:
    model = model_of(config)
    audio = jnp.zeros((1, model.window))
    shapes = jax.eval_shape(model.init, jax.random.key(0), audio)
    params = to_flax(state, RULES, shapes)["params"]
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  return Weights(model, params)


def model_of(config: Mapping[str, Any]) -> Hubert:
  """The model that a `config.json` describes; the base model where it says nothing.

  Raises:
    ValueError: naming what this HuBERT cannot be.
  """
  wrong = [
    f"{name} is {config[name]!r}, expected {expected!r}"
    for name, expected in _LAYOUT.items()
    if config.get(name, expected) != expected
  ]
  widths = set(config.get("conv_dim", [Hubert.conv_width]))
  if len(widths) > 1:
    wrong.append(f"conv_dim is {config['conv_dim']}, expected equal numbers")
  if wrong:
    raise ValueError("not HuBERT in the base model's layout: " + "; ".join(wrong))
  fields = {ours: config[name] for name, ours in _FIELDS.items() if name in config}
  fields = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
  return Hubert(conv_width=widths.pop(), **fields)
