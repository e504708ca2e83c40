"""Parameters of convolutions as inference reads them, by what the layers declare."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from jaxcodec.nn import ops
from jaxcodec.nn.kernel_use import KernelUse
from jaxcodec.nn.platform import on_cpu
from jaxcodec.nn.weight_norm import fold_weight_norm

# A layer's path in the parameters, and what it declares.
Uses = tuple[tuple[tuple[str, ...], KernelUse], ...]


def declared_uses(model: nn.Module, *inputs: Any) -> Uses:
  """Traces `model.init(key, *inputs)` and collects the `kernel_use` of every layer."""
  uses = {}

  def note(run, args, kwargs, context):
    if hasattr(type(context.module), "kernel_use"):
      uses[context.module.path] = context.module.kernel_use
    return run(*args, **kwargs)

  with nn.intercept_methods(note):
    jax.eval_shape(model.init, jax.random.key(0), *inputs)
  return tuple(sorted(uses.items(), key=lambda item: item[0]))


def fold_kernels(params: Mapping[str, Any], uses: Uses) -> dict[str, Any]:
  """Multiplies weight norms out and stores kernels as the platform reads them fastest.

  Layers give the same with the result as with `params`, up to rounding.

  Args:
    params: of a model, nested; never of one in training.
    uses: from `declared_uses` of the model.
  """
  return _fold_for(params, uses, on_cpu())


@functools.partial(jax.jit, static_argnames=("uses", "for_cpu"))
def _fold_for(params, uses, for_cpu):
  del for_cpu  # of which jit keeps a program each
  return _fold(params, dict(uses), ())


def _fold(params, uses, path):
  if path in uses:
    folded = fold_weight_norm(params)
    return folded | ops.stored_kernel(uses[path], folded.pop("kernel"))
  return {
    name: _fold(child, uses, (*path, name)) if isinstance(child, Mapping) else child
    for name, child in params.items()
  }
