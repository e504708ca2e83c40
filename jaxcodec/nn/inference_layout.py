"""Parameters as inference reads them fastest."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxcodec.nn import toom_cook
from jaxcodec.nn.weight_norm import fold_weight_norm


def fold_for_inference(params: Mapping[str, Any]) -> dict[str, Any]:
  """As `fold_weight_norm`, with kernels in other forms for a CPU.

  Those of transposed convolutions are `columns` (W * O, I), along whose rows it reads
  them: arranging the kernel of DAC's first one takes longer than multiplying a second
  of audio by it. Those of 7 taps have their `products` beside them; see `toom_cook`.
  """
  if not {"kernel", "scale"} <= params.keys():
    return {
      name: fold_for_inference(child) if isinstance(child, Mapping) else child
      for name, child in params.items()
    }
  folded = fold_weight_norm(params)
  if _is_transposed(params["scale"]):
    kernel_WxIxO = folded.pop("kernel")
    folded["columns"] = kernel_WxIxO.swapaxes(1, 2).reshape(-1, kernel_WxIxO.shape[1])
  elif jax.default_backend() == "cpu" and toom_cook.serves(folded["kernel"].shape):
    folded["products"] = toom_cook.products(folded["kernel"])
  return folded


def _is_transposed(scale):
  """Whether each input has a norm, as in a transposed convolution."""
  return scale.ndim == 3 and scale.shape[0] == scale.shape[2] == 1 < scale.shape[1]
