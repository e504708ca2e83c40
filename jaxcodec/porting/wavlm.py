"""Reads WavLM's weights, with its x-vector head, from a transformers folder.

Source of the names: transformers' modeling_wavlm.py, WavLMForXVector.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec import files
from jaxcodec.porting import hubert, readers
from jaxcodec.porting.table import Layout, Rule, to_flax
from jaxcodec.semantic.wavlm import WavLm
from jaxcodec.semantic.xvector import XVector

_ATTENTION = r"encoder\.layers\.(\d+)\.attention\.gru_rel_pos"
RULES = (
  *hubert.layer_rules(
    rf"{_ATTENTION}_linear",
    r"params/layers_\1/gru_rel_pos_linear",
    "kernel",
    hubert.LINEAR,
  ),
  Rule(rf"{_ATTENTION}_const", r"params/layers_\1/gru_rel_pos_const"),
  Rule(
    r"encoder\.layers\.0\.attention\.rel_attn_embed\.weight", "params/rel_attn_embed"
  ),
  *hubert.RULES,
)
# Fields of transformers' config and our attributes of the same meaning.
_FIELDS = {"num_buckets": "num_buckets", "max_bucket_distance": "max_distance"}
_HEAD_FIELDS = {
  "tdnn_dim": "widths",
  "tdnn_kernel": "kernels",
  "tdnn_dilation": "dilations",
  "xvector_output_dim": "output_width",
  "use_weighted_layer_sum": "weighted",
}


class XVectorWeights(NamedTuple):
  """Holds a speaker model.

  Attributes:
    model: WavLM, with the sizes of the config.
    params: its parameters, numpy arrays.
    head: turns the hidden states into one vector per recording.
    head_params: its parameters, numpy arrays.
  """

  model: WavLm
  params: dict[str, Any]
  head: XVector
  head_params: dict[str, Any]


def load_xvector(path: files.PathLike) -> XVectorWeights:
  """Reads weights of transformers' WavLMForXVector.

  Args:
    path: a folder with `config.json`; see `readers`.

  Raises:
    FileNotFoundError: there are no weights at `path`.
    ValueError: names the file, and the config's unsupported fields or every weight
      that is missing, left over or misshapen.
  """
  state, config, _ = readers.read(path)
  with readers.name_in_errors(path):
    model = hubert.build_model(WavLm, "wavlm", config, _FIELDS)
    body = {n: a for n, a in state.items() if n.startswith("wavlm.")}
    rest = {n: a for n, a in state.items() if n not in body}
    params = hubert.convert_params(model, body, "wavlm.", RULES)
    head = XVector(**hubert.rename_fields(config, _HEAD_FIELDS))
    if head.weighted and model.pre_norm:
      # No published model has both, and versions of transformers differ in whether
      # the last state is normed.
      raise ValueError("use_weighted_layer_sum with do_stable_layer_norm is ambiguous")
    states = [jnp.zeros((1, head.context + 2, model.width))] * (model.depth + 1)
    shapes = jax.eval_shape(head.init, jax.random.key(0), states, jnp.zeros(1, int))
    head_params = to_flax(rest, head_rules(head), shapes)["params"]
    return XVectorWeights(model, params, head, head_params)


def head_rules(head: XVector) -> list[Rule]:
  """Returns the head's rules; the speaker classifier of its training is ignored."""
  return [
    Rule(r"layer_weights", "params/layer_weights"),
    *hubert.layer_rules(
      r"(projector|feature_extractor)", r"params/\1", "kernel", hubert.LINEAR
    ),
    *(
      rule
      for i, taps in enumerate(head.kernels)
      for rule in hubert.layer_rules(
        rf"tdnn\.{i}\.kernel", f"params/tdnn_{i}", "kernel", _frames_layout(taps)
      )
    ),
    Rule(r"(classifier\.weight|classifier\.bias|objective\.weight)", None),
  ]


def _frames_layout(taps: int) -> Layout:
  """Returns the layout of a convolution that PyTorch keeps as a linear layer.

  The linear layer's input is `taps` frames, one after the other: its weight is
  (output, taps * input), our kernel (taps, input, output).
  """
  return Layout(
    lambda a: a.reshape(len(a), taps, -1).transpose(1, 2, 0),
    lambda a: a.transpose(2, 0, 1).reshape(a.shape[2], -1),
  )
