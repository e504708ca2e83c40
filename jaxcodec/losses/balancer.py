"""EnCodec's loss balancer, under which weights are fractions of the gradient."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

_EPSILON = 1e-12


class BalancerState(NamedTuple):
  """Decayed sums for each loss by name; norm / count is the mean norm.

  Attributes:
    norm: decayed sum of the gradients' norms.
    count: decayed sum of ones, one for each step that the loss took part in.
  """

  norm: dict[str, jax.Array]
  count: dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Balancer:
  """Rescales the gradients of losses w.r.t. the model's output, and adds them up.

  The sum is total_norm * sum_i w_i / sum(w) * g_i / <|g_i|>, where <> is a running mean
  that isn't biased by its start. Source: Défossez et al. 2022, eq. 4;
  encodec/balancer.py, audiocraft/losses/balancer.py.

  Attributes:
    total_norm: norm of the sum if all g_i are parallel and of mean norm.
    decay: of the running mean, per step.
    per_item: whether |g| is the mean of the items' norms, or the norm of the batch.
  """

  total_norm: float = 1.0
  decay: float = 0.999
  per_item: bool = True

  def init(self, names: Iterable[str]) -> BalancerState:
    """Returns the state before the first step."""
    return BalancerState(*({name: jnp.zeros(()) for name in names} for _ in range(2)))

  def __call__(
    self,
    grads: Mapping[str, jax.Array],
    weights: Mapping[str, float],
    state: BalancerState,
    active: Mapping[str, jax.Array],
  ) -> tuple[jax.Array, dict[str, jax.Array], BalancerState]:
    """Combines the gradients of one step.

    Args:
      grads: (B, ...) gradient of each loss w.r.t. the model's output.
      weights: of each loss; only their ratios matter.
      state: of the last step.
      active: whether each loss takes part in this step. The weight of one that never
        has is left out of sum(w).

    Returns:
      The combined gradient, the factor of each loss in it, and the new state.
    """
    norm, count = {}, {}
    for name, grad in grads.items():
      on = jnp.asarray(active[name], jnp.float32)
      keep = jnp.where(on > 0, self.decay, 1.0)
      norm[name] = keep * state.norm[name] + on * self._norm(grad)
      count[name] = keep * state.count[name] + on
    total = sum(jnp.where(count[name] > 0, weights[name], 0.0) for name in grads)
    factors = {
      name: self.total_norm
      * (weights[name] / total)
      / (_EPSILON + norm[name] / jnp.maximum(count[name], _EPSILON))
      for name in grads
    }
    combined = sum(factors[name] * grad for name, grad in grads.items())
    return combined, factors, BalancerState(norm, count)

  def times_for_parts(self, count: int) -> float:
    """Returns what to multiply a part's gradient by, of a batch in `count` parts.

    A norm that is fixed for each item, or for the whole, is fixed in a part of the
    batch, too; then a mean over parts would be so much smaller than the batch's.
    """
    return float(count) if self.per_item else count**0.5

  def _norm(self, grad):
    first = 1 if self.per_item else 0
    axes = tuple(range(first, grad.ndim))
    return jnp.sqrt(jnp.sum(grad * grad, axes)).mean()
