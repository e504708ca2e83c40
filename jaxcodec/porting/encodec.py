"""EnCodec's weights. Source: encodec/model.py (encodec 0.1.1).

Paths start with the collection: codebooks are statistics, not parameters.
"""

from jaxcodec.porting.table import CONV1D, CONV_TRANSPOSE1D, Layout, Rule

_ROOT, _OURS = r"(encoder|decoder)\.model\.(\d+)", r"params/\1/model_\2"


def _normed(torch: str, flax: str, layer: str, layout: Layout) -> list[Rule]:
  """A convolution, weight-normed or not, and the group norm after it."""
  conv, ours = rf"{torch}\.{layer}\.{layer}", f"{flax}/{layer}"
  return [
    Rule(rf"{conv}\.weight_v", f"{ours}/kernel", layout),
    Rule(rf"{conv}\.weight_g", f"{ours}/scale", layout),
    Rule(rf"{conv}\.bias", f"{ours}/bias"),
    Rule(rf"{torch}\.{layer}\.norm\.weight", f"{flax}/norm/scale"),
    Rule(rf"{torch}\.{layer}\.norm\.bias", f"{flax}/norm/bias"),
  ]


CODEC = (
  *_normed(_ROOT, _OURS, "conv", CONV1D),
  *_normed(_ROOT, _OURS, "convtr", CONV_TRANSPOSE1D),
  *_normed(rf"{_ROOT}\.block\.(\d+)", rf"{_OURS}/block_\3", "conv", CONV1D),
  *_normed(rf"{_ROOT}\.shortcut", rf"{_OURS}/shortcut", "conv", CONV1D),
  Rule(
    rf"{_ROOT}\.lstm\.(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)",
    rf"{_OURS}/layers_\4/\3",
  ),
  Rule(
    r"quantizer\.vq\.layers\.(\d+)\._codebook\.(inited|cluster_size|embed|embed_avg)",
    r"vq_stats/quantizer/layers_\1/\2",
  ),
)
