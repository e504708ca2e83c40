"""Kernels with a norm of their own, and variables in which it is multiplied out."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp


def layer_kernel(module: nn.Module, shape, init, kept_axis: int = -1):
  """A kernel, `weight_normed` if the layer is."""
  if module.weight_norm:
    return weight_normed(module, shape, init, kept_axis)
  return module.param("kernel", init, shape)


def _norm(kernel, kept_axis):
  axes = tuple(i for i in range(kernel.ndim) if i != kept_axis)
  return jnp.sqrt(jnp.sum(kernel * kernel, axes, keepdims=True))


def weight_normed(module: nn.Module, shape, init, kept_axis: int = -1):
  """Kernel scale * v / ||v||, the norm taken over all axes but `kept_axis`.

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
  """Nested dicts of parameters with every weight norm multiplied out, for inference.

  Layers then take `kernel` as it is; their result is the same up to rounding.
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
