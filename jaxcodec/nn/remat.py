"""Rematerialisation: blocks whose activations are computed again for the gradient."""

import flax.linen as nn


def remat(block: type[nn.Module], on: bool) -> type[nn.Module]:
  """Returns `block`, whose gradient stores nothing but its inputs if `on`.

  Activations inside the block are computed again when the gradient arrives there, for
  less memory and more operations. Names of parameters and gradients are the same. XLA's
  CPU compiler saves no memory by it unless told so (`xla_cpu_scheduler_type`).
  """
  return nn.remat(block) if on else block
