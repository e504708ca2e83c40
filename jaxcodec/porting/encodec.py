"""Rules for the weights of EnCodec; names from encodec/model.py (encodec 0.1.1)."""

from jaxcodec.porting.table import CONV1D, CONV_TRANSPOSE1D, Layout, Rule

_ROOT, _OURS = r"(encoder|decoder)\.model\.(\d+)", r"params/\1/model_\2"


def _conv_rules(torch: str, flax: str, layer: str, layout: Layout) -> list[Rule]:
  """Returns the rules of a convolution with weight norm, or a group norm after it."""
  conv, ours = rf"{torch}\.{layer}\.{layer}", f"{flax}/{layer}"
  return [
    Rule(rf"{conv}\.weight_v", f"{ours}/kernel", layout),
    Rule(rf"{conv}\.weight_g", f"{ours}/scale", layout),
    Rule(rf"{conv}\.bias", f"{ours}/bias"),
    Rule(rf"{torch}\.{layer}\.norm\.weight", f"{ours}_norm/scale"),
    Rule(rf"{torch}\.{layer}\.norm\.bias", f"{ours}_norm/bias"),
  ]


CODEC = (
  *_conv_rules(_ROOT, _OURS, "conv", CONV1D),
  *_conv_rules(_ROOT, _OURS, "convtr", CONV_TRANSPOSE1D),
  *_conv_rules(rf"{_ROOT}\.block\.(\d+)", rf"{_OURS}/block_\3", "conv", CONV1D),
  *_conv_rules(rf"{_ROOT}\.shortcut", rf"{_OURS}/shortcut", "conv", CONV1D),
  Rule(
    rf"{_ROOT}\.lstm\.(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)",
    rf"{_OURS}/layers_\4/\3",
  ),
  Rule(
    r"quantizer\.vq\.layers\.(\d+)\._codebook\.(embed|embed_avg|cluster_size|inited)",
    r"vq_stats/quantizer/layers_\1/\2",
  ),
)
