"""DAC's weights and its discriminators'. Source: dac/model (descript-audio-codec)."""

from jaxcodec.porting.table import (
  CONV1D,
  CONV2D,
  CONV_TRANSPOSE1D,
  Layout,
  Rule,
  permuted,
)

_ALPHA = permuted(0, 2, 1)
# A period discriminator's 2-D kernels are one column wide.
_COLUMN = Layout(
  lambda a: a[..., 0].transpose(2, 1, 0), lambda a: a.transpose(2, 1, 0)[..., None]
)


def _weight_normed(torch: str, flax: str, layout: Layout) -> list[Rule]:
  """Direction, norm and bias of a convolution."""
  return [
    Rule(rf"{torch}\.weight_v", f"{flax}/kernel", layout),
    Rule(rf"{torch}\.weight_g", f"{flax}/scale", layout),
    Rule(rf"{torch}\.bias", f"{flax}/bias"),
  ]


def _nested(root: str, ours: str) -> list[Rule]:
  """Convolutions and Snakes at up to three levels of `block`."""
  rules = []
  for _ in range(3):
    rules += _weight_normed(root, ours, CONV1D)
    rules.append(Rule(rf"{root}\.alpha", f"{ours}/alpha", _ALPHA))
    group = root.count("(") + 1
    root, ours = rf"{root}\.block\.(\d+)", rf"{ours}/block_\{group}"
  return rules


CODEC = (
  # The second layer of a decoder block is the transposed convolution.
  *_weight_normed(
    r"decoder\.model\.(\d+)\.block\.1",
    r"params/decoder/model_\1/block_1",
    CONV_TRANSPOSE1D,
  ),
  *_nested(r"encoder\.block\.(\d+)", r"params/encoder/block_\1"),
  *_nested(r"decoder\.model\.(\d+)", r"params/decoder/model_\1"),
  *_weight_normed(
    r"quantizer\.quantizers\.(\d+)\.(in_proj|out_proj)",
    r"params/quantizer/quantizers_\1/\2",
    CONV1D,
  ),
  Rule(
    r"quantizer\.quantizers\.(\d+)\.codebook\.weight",
    r"params/quantizer/quantizers_\1/codebook",
  ),
)

_SUB = r"discriminators\.(\d+)"


def discriminator(num_periods: int) -> tuple[Rule, ...]:
  """Rules for an ensemble whose first `num_periods` members are period ones."""
  period = rf"discriminators\.({'|'.join(map(str, range(num_periods)))})"
  return (
    *_weight_normed(
      rf"{_SUB}\.convs\.(\d+)\.0", r"discriminators_\1/convs_\2", _COLUMN
    ),
    *_weight_normed(
      rf"{_SUB}\.band_convs\.(\d+)\.(\d+)\.0",
      r"discriminators_\1/band_convs_\2/layers_\3",
      CONV2D,
    ),
    *_weight_normed(rf"{period}\.conv_post", r"discriminators_\1/conv_post", _COLUMN),
    *_weight_normed(rf"{_SUB}\.conv_post", r"discriminators_\1/conv_post", CONV2D),
  )
