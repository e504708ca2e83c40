"""Parameters as inference reads them fastest."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxcodec.nn import toom_cook
from jaxcodec.nn.weight_norm import fold_weight_norm


def fold_for_inference(params: Mapping[str, Any], name: str = "") -> dict[str, Any]:
  """As `fold_weight_norm`, with kernels in other forms for a CPU.

  Those of transposed convolutions are `columns` (W * O, I), along whose rows it reads
  them: arranging the kernel of DAC's first one takes longer than multiplying a second
  of audio by it. Those of 7 taps have their `products` beside them; see `toom_cook`.

  Args:
    params: of a codec, nested.
    name: of the layer whose these are.
  """
  folded = {
    key: fold_for_inference(child, key) if isinstance(child, Mapping) else child
    for key, child in params.items()
  }
  if "kernel" not in folded:
    return folded
  folded = fold_weight_norm(folded)
  if _is_transposed(name, params):
    kernel_WxIxO = folded.pop("kernel")
    folded["columns"] = kernel_WxIxO.swapaxes(1, 2).reshape(-1, kernel_WxIxO.shape[1])
  elif jax.default_backend() == "cpu" and toom_cook.serves(folded["kernel"].shape):
    folded["products"] = toom_cook.products(folded["kernel"])
  return folded


def _is_transposed(name, params):
  """SEANet's by their name; others by having a norm for each input."""
  if name == "convtr" or "scale" not in params:
    return name == "convtr"
  shape = params["scale"].shape
  return len(shape) == 3 and shape[0] == shape[2] == 1 < shape[1]
