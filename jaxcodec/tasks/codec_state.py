"""The state of codec training."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class CodecState:
  """All that codec training must keep to go on with the same bits.

  Attributes:
    step: int32 scalar, updates done.
    rng: key that every step's randomness is derived from.
    params: the codec's weights.
    collections: the codec's variables that no gradient trains, by name: `vq_stats`
      where its codebooks are running means or frozen, none otherwise.
    ema: moving average of `params`.
    opt: the codec's optimiser.
    disc_params, disc_opt: the same of the discriminators.
    balance: state of the balancer, empty without one.
  """

  step: jax.Array
  rng: jax.Array
  params: Any
  collections: Any
  ema: Any
  opt: Any
  disc_params: Any
  disc_opt: Any
  balance: Any

  def start_from(self, variables: dict[str, Any]) -> "CodecState":
    """Returns the state with a codec's variables; the discriminators stay fresh."""
    params = variables["params"]
    collections = {name: variables[name] for name in self.collections}
    average = jax.tree.map(jnp.copy, params)
    return self.replace(params=params, ema=average, collections=collections)

  def apply_gradients(
    self, grads: Any, opt: optax.GradientTransformation, ema_decay: float
  ) -> "CodecState":
    """Returns the state after an update of the codec's weights and their average.

    The average's decay rises from the start as (1 + step) / (10 + step).
    """
    updates, opt_state = opt.update(grads, self.opt, self.params)
    params = optax.apply_updates(self.params, updates)
    step = self.step + 1
    decay = jnp.minimum(ema_decay, (1 + step) / (10 + step))
    ema = optax.incremental_update(params, self.ema, 1 - decay)
    return self.replace(step=step, params=params, ema=ema, opt=opt_state)
