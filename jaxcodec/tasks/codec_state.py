"""The state of codec training."""

from typing import Any

import flax.struct
import jax


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
