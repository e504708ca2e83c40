"""Tables of rules convert weights in both directions, without PyTorch."""

import itertools
import re

import jax
import numpy as np
import pytest

from jaxcodec.porting import (
  dac,
  discriminators,
  encodec,
  huggingface,
  vocos,
  weight_norm_names,
)
from jaxcodec.porting.table import (
  CONV1D,
  Rule,
  invert,
  select_buffers,
  to_flax,
  to_torch,
)

RULES = (
  Rule(r"(enc|dec)\.(\d+)\.conv\.weight_v", r"params/\1/layer_\2/kernel", CONV1D),
  Rule(r"(enc|dec)\.(\d+)\.conv\.weight_g", r"params/\1/layer_\2/scale", CONV1D),
  Rule(r"(enc|dec)\.(\d+)\.norm\.weight", r"params/\1/layer_\2/norm/scale"),
  Rule(r"book\.embed", "vq_stats/embed"),
  Rule(r"window", None),
)
STATE = {
  "enc.0.conv.weight_v": np.arange(24, dtype=np.float32).reshape(4, 3, 2),
  "enc.0.conv.weight_g": np.ones((4, 1, 1), np.float32),
  "enc.0.norm.weight": np.ones(4, np.float32),
  "book.embed": np.ones((5, 2), np.float32),
}
SHAPES = {
  "params": {
    "enc": {
      "layer_0": {
        "kernel": jax.ShapeDtypeStruct((2, 3, 4), np.float32),
        "scale": jax.ShapeDtypeStruct((1, 1, 4), np.float32),
        "norm": {"scale": jax.ShapeDtypeStruct((4,), np.float32)},
      }
    }
  },
  "vq_stats": {"embed": jax.ShapeDtypeStruct((5, 2), np.float32)},
}


def same(found, expected):
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
  "how", [weight_norm_names.WEIGHT_G, weight_norm_names.PARAMETRIZATIONS]
)
def test_there_and_back(how):
  state = {
    weight_norm_names.from_weight_g(name, how): array for name, array in STATE.items()
  }
  assert weight_norm_names.detect(state) == how
  variables = to_flax(state, RULES, SHAPES)
  layer = variables["params"]["enc"]["layer_0"]
  np.testing.assert_array_equal(
    layer["kernel"][1, 2], STATE["enc.0.conv.weight_v"][:, 2, 1]
  )
  same(to_torch(variables, RULES, how), state)


def test_a_kernel_without_its_norm_stays_one():
  state = {n: a for n, a in STATE.items() if not n.endswith(("_v", "_g"))}
  state["enc.0.conv.weight"] = STATE["enc.0.conv.weight_v"]
  variables = to_flax(state, RULES, SHAPES)
  assert variables["params"]["enc"]["layer_0"].keys() == {"kernel", "norm"}
  same(to_torch(variables, RULES), state)


def test_buffers_are_no_parameters():
  state = {**STATE, "window": np.ones(3)}
  same(to_torch(to_flax(state, RULES, SHAPES), RULES), STATE)
  assert select_buffers(state, RULES).keys() == {"window"}


def test_half_precision_becomes_float32():
  state = {name: array.astype(np.float16) for name, array in STATE.items()}
  leaves = jax.tree.leaves(to_flax(state, RULES, SHAPES))
  assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
  "change,message",
  [
    ({"enc.0.conv.weight_g": None}, "params/enc/layer_0/scale: not in the weights"),
    ({"enc.0.conv.bias": np.ones(4)}, "enc.0.conv.bias: not a parameter"),
    ({"dec.0.norm.weight": np.ones(4)}, "dec.0.norm.weight: not a parameter"),
    ({"book.embed": np.ones((5, 3))}, r"book.embed: expected \(5, 2\), got \(5, 3\)"),
    (
      {"enc.0.conv.parametrizations.weight.original0": np.ones((4, 1, 1))},
      "original0: params/enc/layer_0/scale is filled twice",
    ),
  ],
)
def test_what_does_not_fit_is_listed(change, message):
  state = {n: a for n, a in {**STATE, **change}.items() if a is not None}
  with pytest.raises(ValueError, match=message):
    to_flax(state, RULES, SHAPES)


def test_what_has_no_name_there_is_listed():
  with pytest.raises(ValueError, match="no PyTorch name for:\n  params/x/y"):
    to_torch({"params": {"x": {"y": np.ones(1)}}}, RULES)


def test_patterns_are_inverted():
  pattern, name = invert(r"a\.(\d+)\.(x|y)\.b", r"z/\2_\1/\1")
  assert re.fullmatch(pattern, "z/x_3/3").expand(name) == "a.3.x.b"
  assert not re.fullmatch(pattern, "z/x_3/4")
  for bad in (r"a.(\d+)", r"a\.(\d+)?", r"a\.((\d)x)"):
    with pytest.raises(ValueError, match="more than escaped text and groups"):
      invert(bad, r"z_\1")
  with pytest.raises(ValueError, match="does not use every group"):
    invert(r"a\.(\d+)", "z")


def test_every_table_can_be_inverted():
  tables = (
    dac.CODEC,
    encodec.CODEC,
    vocos.DECODER,
    vocos.VOCODER,
    discriminators.dac(3, 2),
  )
  for rule in itertools.chain(*tables):
    if rule.flax is not None:
      invert(rule.torch, rule.flax)
  for pair in (*huggingface.dac(4), *huggingface.encodec(4, 1)):
    invert(*pair)
