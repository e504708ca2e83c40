"""The state of codec training."""

from collections.abc import Collection
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxcodec.quantizers import ema as codebooks


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
    averages: the same of `collections`; see `quantizers.ema.average`.
    opt: the codec's optimiser.
    disc_params, disc_opt: the same of the discriminators.
    balance: state of the balancer, empty without one.
  """

  step: jax.Array
  rng: jax.Array
  params: Any
  collections: Any
  ema: Any
  averages: Any
  opt: Any
  disc_params: Any
  disc_opt: Any
  balance: Any

  # Checkpoints of earlier revisions lack the averages, which then begin afresh.
  BEGIN_AS: ClassVar = {"averages": "collections"}

  @classmethod
  def fresh(
    cls,
    rng: jax.Array,
    variables: dict[str, Any],
    opt: optax.GradientTransformation,
    freeze: Collection[str] = (),
    **others: Any,
  ) -> "CodecState":
    """Returns the state before the first step.

    Args:
      rng: key of the training.
      variables: of the codec, as its `init` gives them.
      opt: the codec's optimiser.
      freeze: parts of the codec that it doesn't train.
      **others: the discriminators' and the balancer's fields.
    """
    collections = dict(variables)
    params = collections.pop("params")
    return cls(
      step=jnp.zeros((), jnp.int32),
      rng=rng,
      params=params,
      collections=collections,
      ema=jax.tree.map(jnp.copy, params),
      averages=jax.tree.map(jnp.copy, collections),
      opt=opt.init({name: p for name, p in params.items() if name not in freeze}),
      **others,
    )

  def start_from(self, variables: dict[str, Any]) -> "CodecState":
    """Returns the state with a codec's variables, or those of some of its parts.

    Parts that aren't among them and the discriminators stay fresh.
    """
    params = {**self.params, **variables["params"]}
    collections = {
      name: {**parts, **variables.get(name, {})}
      for name, parts in self.collections.items()
    }
    ema, averages = jax.tree.map(jnp.copy, (params, collections))
    return self.replace(
      params=params, ema=ema, collections=collections, averages=averages
    )

  def apply_gradients(
    self,
    grads: Any,
    collections: Any,
    opt: optax.GradientTransformation,
    ema_decay: float,
  ) -> "CodecState":
    """Returns the state after an update of the codec's weights and the averages.

    The averages' decay rises from the start as (1 + step) / (10 + step).

    Args:
      grads: of `params`, without those of frozen parts, which keep their bits.
      collections: new values of `collections`.
      opt: the codec's optimiser.
      ema_decay: of the averages.
    """
    before, average = ({n: tree[n] for n in grads} for tree in (self.params, self.ema))
    updates, opt_state = opt.update(grads, self.opt, before)
    after = optax.apply_updates(before, updates)
    step = self.step + 1
    decay = jnp.minimum(ema_decay, (1 + step) / (10 + step))
    average = optax.incremental_update(after, average, 1 - decay)
    return self.replace(
      step=step,
      params={**self.params, **after},
      collections=collections,
      ema={**self.ema, **average},
      averages=codebooks.average(self.averages, collections, 1 - decay),
      opt=opt_state,
    )

  def inference_variables(self) -> dict[str, Any]:
    """Returns the averaged weights, and the averages of what no gradient trains."""
    return {"params": self.ema, **self.averages}
