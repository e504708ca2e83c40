"""HuBERT's weights. Source: transformers' modeling_hubert.py, HubertModel."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec import files
from jaxcodec.porting import readers
from jaxcodec.porting.table import CONV1D, Layout, Rule, permuted, to_flax
from jaxcodec.semantic.hubert import Hubert

LINEAR = permuted(1, 0)
_LAYER, _OURS = r"encoder\.layers\.(\d+)", r"params/layers_\1"
_POSITION = r"encoder\.pos_conv_embed\.conv"


def both(torch: str, flax: str, name: str, layout: Layout | None = None) -> list[Rule]:
  """Rules of a layer's weight, by our `name`, and of its bias."""
  return [
    Rule(rf"{torch}\.weight", f"{flax}/{name}", layout),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
  ]


_CONV = r"feature_extractor\.conv_layers\.(\d+)"
RULES = (
  *both(rf"{_CONV}\.conv", r"params/conv_layers_\1", "kernel", CONV1D),
  *both(r"feature_extractor\.conv_layers\.0\.layer_norm", "params/conv_norm", "scale"),
  *both(r"feature_projection\.layer_norm", "params/projection_norm", "scale"),
  *both(r"feature_projection\.projection", "params/projection", "kernel", LINEAR),
  Rule(rf"{_POSITION}\.weight_v", "params/position/kernel", CONV1D),
  Rule(rf"{_POSITION}\.weight_g", "params/position/scale", CONV1D),
  Rule(rf"{_POSITION}\.bias", "params/position/bias"),
  *both(r"encoder\.layer_norm", "params/encoder_norm", "scale"),
  *both(
    rf"{_LAYER}\.attention\.(q_proj|k_proj|v_proj|out_proj)",
    rf"{_OURS}/\2",
    "kernel",
    LINEAR,
  ),
  *both(
    rf"{_LAYER}\.feed_forward\.(intermediate_dense|output_dense)",
    rf"{_OURS}/\2",
    "kernel",
    LINEAR,
  ),
  *both(rf"{_LAYER}\.(layer_norm|final_layer_norm)", rf"{_OURS}/\2", "scale"),
  # What training hid frames with, and a recogniser's last layer.
  Rule(r"masked_spec_embed", None),
  Rule(r"lm_head\.(weight|bias)", None),
)
# Where every convolution has a norm; these come first.
_CONV_NORMS = both(rf"{_CONV}\.layer_norm", r"params/conv_norms_\1", "scale")
_HEAD = both(r"lm_head", "params", "kernel", LINEAR)

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
  "feat_extract_norm": "conv_norm",
  "conv_bias": "conv_bias",
  "do_stable_layer_norm": "pre_norm",
}
# What the published models' layouts are; others are other computations.
_LAYOUT = {
  "feat_extract_norm": ("group", "layer"),
  "feat_extract_activation": ("gelu",),
  "hidden_act": ("gelu",),
  "conv_pos_batch_norm": (False,),
  "feat_proj_layer_norm": (True,),
  "add_adapter": (False,),
}


class HubertWeights(NamedTuple):
  """What a published file or folder holds.

  Attributes:
    model: HuBERT of its sizes.
    params: its parameters, numpy arrays.
  """

  model: Hubert
  params: dict[str, Any]


class CtcWeights(NamedTuple):
  """What a recogniser's folder holds.

  Attributes:
    model: HuBERT of its sizes.
    params: its parameters, numpy arrays.
    head: `kernel` (D, V) and `bias` (V,) of the layer that tells symbols.
  """

  model: Hubert
  params: dict[str, Any]
  head: dict[str, np.ndarray]


def load(path: files.PathLike) -> HubertWeights:
  """Reads weights of transformers' HubertModel or HubertForCTC.

  Args:
    path: a folder with `config.json`, or a file, which is taken to be of the base
      model; see `readers`.

  Raises:
    FileNotFoundError, ValueError: naming the file; another layout than the published
      models', or everything that is missing, left over or misshapen.
  """
  state, config = readers.read(path)
  with readers.name_in_errors(path):
    model = model_of(Hubert, "hubert", config)
    return HubertWeights(model, params_of(model, state, "hubert."))


def load_ctc(path: files.PathLike) -> CtcWeights:
  """Reads weights of transformers' HubertForCTC; see `load`."""
  state, config = readers.read(path)
  with readers.name_in_errors(path):
    model = model_of(Hubert, "hubert", config)
    params = params_of(model, state, "hubert.")
    head = {name: array for name, array in state.items() if name.startswith("lm_head")}
    symbols = config.get("vocab_size", 32)
    shapes = {"kernel": _shape(model.width, symbols), "bias": _shape(symbols)}
    return CtcWeights(model, params, to_flax(head, _HEAD, {"params": shapes})["params"])


def model_of(
  cls: type[Hubert],
  model_type: str,
  config: Mapping[str, Any],
  more: Mapping[str, str] | None = None,
) -> Hubert:
  """The model that a `config.json` describes; the base model where it says nothing.

  Args:
    cls: the model's class.
    model_type: transformers' name of it.
    config: the content of `config.json`.
    more: transformers' names of the attributes that this class has besides.

  Raises:
    ValueError: naming what this model cannot be.
  """
  allowed = {"model_type": (model_type,), **_LAYOUT}
  wrong = [
    f"{name} is {config[name]!r}, expected {' or '.join(map(repr, expected))}"
    for name, expected in allowed.items()
    if config.get(name, expected[0]) not in expected
  ]
  widths = set(config.get("conv_dim", [cls.conv_width]))
  if len(widths) > 1:
    wrong.append(f"conv_dim is {config['conv_dim']}, expected equal numbers")
  if wrong:
    raise ValueError(f"not a {model_type} of a published layout: " + "; ".join(wrong))
  names = {**_FIELDS, **(more or {})}
  return cls(conv_width=widths.pop(), **attributes(config, names))


def attributes(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
  """What a `config.json` says, by our names."""
  found = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
  return {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}


def params_of(
  model: Hubert,
  state: Mapping[str, np.ndarray],
  root: str,
  rules: Sequence[Rule] = RULES,
) -> dict[str, Any]:
  """The model's parameters of a state dict.

  Args:
    model: of the weights' sizes.
    state: arrays by transformers' names.
    root: what these begin with in a model with a head.
    rules: of the model's parameters and of what is left out.

  Raises:
    ValueError: see `to_flax`.
  """
  state = {name.removeprefix(root): array for name, array in state.items()}
  audio = jnp.zeros((1, model.window))
  shapes = jax.eval_shape(model.init, jax.random.key(0), audio)
  return to_flax(state, rules_of(model, rules), shapes)["params"]


def rules_of(model: Hubert, rules: Sequence[Rule] = RULES) -> tuple[Rule, ...]:
  """Those of a model whose convolutions are normed as this one's."""
  return (*(_CONV_NORMS if model.conv_norm == "layer" else ()), *rules)


def _shape(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.float32)
