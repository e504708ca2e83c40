"""Kernels with a norm of their own, and variables in which it is multiplied out."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxcodec.nn import ops


def layer_kernel(module: nn.Module, shape, init):
  """Returns the kernel of a layer in its `dtype`, as the operations of `ops` take it.

  Declares the parameters, unless `folding.fold_kernels` has stored them in a form of
  the platform's own. The layer says by `weight_norm` whether the kernel has a norm.
  """
  params = module.variables.get("params", {})
  form = ops.read_stored(params, module.dtype)
  if form is not None:
    return form
  if module.weight_norm:
    kernel = weight_normed(module, shape, init, module.kernel_use.kept_axis)
  else:
    kernel = module.param("kernel", init, shape)
  return kernel.astype(module.dtype)


def _norm(kernel, kept_axis):
  axes = tuple(i for i in range(kernel.ndim) if i != kept_axis)
  return jnp.sqrt(jnp.sum(kernel * kernel, axes, keepdims=True))


def weight_normed(module: nn.Module, shape, init, kept_axis: int = -1):
  """Returns the kernel scale * v / ||v||, its norm over all axes but `kept_axis`.

  Declares `kernel` (v) and `scale` on `module`; variables without a `scale` (see
  `fold_weight_norm`) hold the kernel itself. Source: Salimans and Kingma 2016; torch
  keeps axis 0, which is the output of a convolution and the input of a transposed one.
  """
  kept_axis %= len(shape)
  kernel = module.param("kernel", init, shape)
  if not module.is_initializing() and not module.has_variable("params", "scale"):
    return kernel
  scale = module.param("scale", lambda _: _norm(kernel, kept_axis))
  return kernel * (scale / _norm(kernel, kept_axis))


def fold_weight_norm(params: Mapping[str, Any]) -> dict[str, Any]:
  """Multiplies out every weight norm in nested dicts of parameters, for inference.

  Layers then take `kernel` as it is; their result is the same up to rounding. The norm
  is over the axes of length one of `scale`, which is how `weight_normed` made it.
  """
  if {"kernel", "scale"} <= params.keys():
    kernel, scale = params["kernel"], params["scale"]
    axes = tuple(i for i, size in enumerate(scale.shape) if size == 1)
    norm = jnp.sqrt(jnp.sum(kernel * kernel, axes, keepdims=True))
    rest = {name: v for name, v in params.items() if name not in ("kernel", "scale")}
    return {"kernel": kernel * (scale / norm), **rest}
  return {
    name: fold_weight_norm(child) if isinstance(child, Mapping) else child
    for name, child in params.items()
  }
