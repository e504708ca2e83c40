"""Rules for DAC's weights. Source of the names: dac/model (descript-audio-codec)."""

from jaxcodec.porting.table import CONV1D, CONV_TRANSPOSE1D, Layout, Rule, permuted

_ALPHA = permuted(0, 2, 1)


def weight_norm_rules(torch: str, flax: str, layout: Layout) -> list[Rule]:
  """Returns the rules of a weight-normed convolution: direction, norm and bias."""
  return [
    Rule(rf"{torch}\.weight_v", f"{flax}/kernel", layout),
    Rule(rf"{torch}\.weight_g", f"{flax}/scale", layout),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
  ]


def _nested_rules(root: str, ours: str) -> list[Rule]:
  """Returns the rules of convolutions and Snakes, nested up to three blocks deep."""
  rules = []
  for _ in range(3):
    rules += weight_norm_rules(root, ours, CONV1D)
    rules.append(Rule(rf"{root}\.alpha", f"{ours}/alpha", _ALPHA))
    group = root.count("(") + 1
    root, ours = rf"{root}\.block\.(\d+)", rf"{ours}/block_\{group}"
  return rules


CODEC = (
  # The second layer of a decoder block is the transposed convolution.
  *weight_norm_rules(
    r"decoder\.model\.(\d+)\.block\.1",
    r"params/decoder/model_\1/block_1",
    CONV_TRANSPOSE1D,
  ),
  *_nested_rules(r"encoder\.block\.(\d+)", r"params/encoder/block_\1"),
  *_nested_rules(r"decoder\.model\.(\d+)", r"params/decoder/model_\1"),
  *weight_norm_rules(
    r"quantizer\.quantizers\.(\d+)\.(in_proj|out_proj)",
    r"params/quantizer/quantizers_\1/\2",
    CONV1D,
  ),
  Rule(
    r"quantizer\.quantizers\.(\d+)\.codebook\.weight",
    r"params/quantizer/quantizers_\1/codebook",
  ),
)
