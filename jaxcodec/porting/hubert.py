"""Reads HuBERT's weights and config from a transformers folder.

Source of the names: transformers' modeling_hubert.py, HubertModel and HubertForCTC.
"""

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


def layer_rules(
  torch: str, flax: str, weight: str, layout: Layout | None = None
) -> list[Rule]:
  """Returns the rules of a layer's weight and bias.

  Args:
    torch: regex of the layer's name in PyTorch.
    flax: the layer's path in our parameters.
    weight: our name of the weight, `kernel` or `scale`.
    layout: of the weight; None leaves it as it is.
  """
  return [
    Rule(rf"{torch}\.weight", f"{flax}/{weight}", layout),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
  ]


_CONV = r"feature_extractor\.conv_layers\.(\d+)"
RULES = (
  *layer_rules(rf"{_CONV}\.conv", r"params/conv_layers_\1", "kernel", CONV1D),
  *layer_rules(
    r"feature_extractor\.conv_layers\.0\.layer_norm", "params/conv_norm", "scale"
  ),
  *layer_rules(r"feature_projection\.layer_norm", "params/projection_norm", "scale"),
  *layer_rules(
    r"feature_projection\.projection", "params/projection", "kernel", LINEAR
  ),
  Rule(rf"{_POSITION}\.weight_v", "params/position/kernel", CONV1D),
  Rule(rf"{_POSITION}\.weight_g", "params/position/scale", CONV1D),
  Rule(rf"{_POSITION}\.bias", "params/position/bias"),
  *layer_rules(r"encoder\.layer_norm", "params/encoder_norm", "scale"),
  *layer_rules(
    rf"{_LAYER}\.attention\.(q_proj|k_proj|v_proj|out_proj)",
    rf"{_OURS}/\2",
    "kernel",
    LINEAR,
  ),
  *layer_rules(
    rf"{_LAYER}\.feed_forward\.(intermediate_dense|output_dense)",
    rf"{_OURS}/\2",
    "kernel",
    LINEAR,
  ),
  *layer_rules(rf"{_LAYER}\.(layer_norm|final_layer_norm)", rf"{_OURS}/\2", "scale"),
  # The vector that replaces masked frames in pretraining, and a recogniser's head.
  Rule(r"masked_spec_embed", None),
  Rule(r"lm_head\.(weight|bias)", None),
)
# For models with a norm after every convolution. They must come before RULES, whose
# norm of the first convolution matches, too.
_CONV_NORMS = layer_rules(rf"{_CONV}\.layer_norm", r"params/conv_norms_\1", "scale")
_HEAD = layer_rules(r"lm_head", "params", "kernel", LINEAR)

# Fields of transformers' config and our attributes of the same meaning and default.
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
# The values that `Hubert` computes; a config with any other is refused.
_SUPPORTED = {
  "feat_extract_norm": ("group", "layer"),
  "feat_extract_activation": ("gelu",),
  "hidden_act": ("gelu",),
  "conv_pos_batch_norm": (False,),
  "feat_proj_layer_norm": (True,),
  "add_adapter": (False,),
}


class HubertWeights(NamedTuple):
  """Holds a HuBERT model without a head.

  Attributes:
    model: the module, with the sizes of the config.
    params: its parameters, numpy arrays.
  """

  model: Hubert
  params: dict[str, Any]


class CtcWeights(NamedTuple):
  """Holds a HuBERT speech recogniser.

  Attributes:
    model: the module below the head, with the sizes of the config.
    params: its parameters, numpy arrays.
    head: `kernel` (D, V) and `bias` (V,) of the linear layer that gives the logits of
      the V symbols.
  """

  model: Hubert
  params: dict[str, Any]
  head: dict[str, np.ndarray]


def load(path: files.PathLike) -> HubertWeights:
  """Reads weights of transformers' HubertModel or HubertForCTC.

  Args:
    path: a folder with `config.json`, or a file, which is taken to hold the base
      model; see `readers`.

  Raises:
    FileNotFoundError: there are no weights at `path`.
    ValueError: names the file, and the config's unsupported fields or every weight
      that is missing, left over or misshapen.
  """
  state, config, _ = readers.read(path)
  with readers.name_in_errors(path):
    model = build_model(Hubert, "hubert", config)
    return HubertWeights(model, convert_params(model, state, "hubert."))


def load_ctc(path: files.PathLike) -> CtcWeights:
  """Reads weights of transformers' HubertForCTC; see `load`."""
  state, config, _ = readers.read(path)
  with readers.name_in_errors(path):
    model = build_model(Hubert, "hubert", config)
    params = convert_params(model, state, "hubert.")
    head = {name: array for name, array in state.items() if name.startswith("lm_head")}
    symbols = config.get("vocab_size", 32)
    shapes = {"kernel": _shape(model.width, symbols), "bias": _shape(symbols)}
    return CtcWeights(model, params, to_flax(head, _HEAD, {"params": shapes})["params"])


def build_model(
  cls: type[Hubert],
  model_type: str,
  config: Mapping[str, Any],
  extra_fields: Mapping[str, str] | None = None,
) -> Hubert:
  """Builds the module that a `config.json` describes.

  Fields that the config leaves out have the base model's values.

  Args:
    cls: the module's class.
    model_type: transformers' name of it.
    config: the content of `config.json`.
    extra_fields: maps transformers' names of fields to the attributes that `cls` has
      beyond those of `Hubert`.

  Raises:
    ValueError: names every field with a value that `cls` does not support.
  """
  allowed = {"model_type": (model_type,), **_SUPPORTED}
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
  names = {**_FIELDS, **(extra_fields or {})}
  return cls(conv_width=widths.pop(), **rename_fields(config, names))


def rename_fields(
  config: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
  """Returns the fields of a `config.json` that are in `names`, by our names.

  Lists become tuples, as Flax modules want hashable attributes.
  """
  found = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
  return {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}


def convert_params(
  model: Hubert,
  state: Mapping[str, np.ndarray],
  root: str,
  rules: Sequence[Rule] = RULES,
) -> dict[str, Any]:
  """Converts a state dict to the model's parameters.

  Args:
    model: the module, with the sizes of the weights.
    state: arrays by transformers' names.
    root: prefix of the names in a model with a head; it is removed.
    rules: for the parameters, and for arrays to ignore.

  Raises:
    ValueError: see `to_flax`.
  """
  state = {name.removeprefix(root): array for name, array in state.items()}
  audio = jnp.zeros((1, model.window))
  shapes = jax.eval_shape(model.init, jax.random.key(0), audio)
  return to_flax(state, select_rules(model, rules), shapes)["params"]


def select_rules(model: Hubert, rules: Sequence[Rule] = RULES) -> tuple[Rule, ...]:
  """Returns the rules for the model's kind of norm after its convolutions."""
  first = _CONV_NORMS if model.conv_norm == "layer" else []
  return (*first, *rules)


def _shape(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.float32)
