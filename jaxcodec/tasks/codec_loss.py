"""Gradients of a codec's loss with respect to what the codec gives.

The loss' terms are scalars by name. They come from functions of the codec's output
(B, N), and from the quantiser (`vq`).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec import losses

Terms = dict[str, jax.Array]
Functions = Sequence[Callable[[jax.Array], Terms]]
Cotangents = tuple[jax.Array, Terms]

_OF_DISCRIMINATORS = ("adversarial", "feature")


def adversarial_terms(
  judge: Callable[[jax.Array], losses.Maps],
  real_BxN: jax.Array,
  sub_weights: Sequence[float],
  playing: jax.Array | bool,
  *,
  generator: Callable[..., jax.Array],
  matching: Callable[..., jax.Array],
) -> Callable[[jax.Array], Terms]:
  """Makes the function of the codec's output whose terms need the discriminators.

  Args:
    judge: the discriminators, audio to feature maps.
    real_BxN: the original audio.
    sub_weights: of the sub-discriminators.
    playing: whether the discriminators take part; if not, the terms are 0.
    generator: loss of the codec on its output's maps.
    matching: feature matching loss between the maps of original and output.
  """

  def judged(fake_BxN):
    real, fake = judge(real_BxN), judge(fake_BxN)
    feature = matching(real, fake, sub_weights)
    return dict(adversarial=generator(fake, sub_weights), feature=feature)

  def unjudged(_):
    return {name: jnp.zeros(()) for name in _OF_DISCRIMINATORS}

  return lambda fake_BxN: choose(playing, judged, unjudged, fake_BxN)


def choose(
  condition: jax.Array | bool,
  if_true: Callable[[Any], Any],
  if_false: Callable[[Any], Any],
  x: Any,
) -> Any:
  """Returns what one of two functions gives; the program has both if it must."""
  if isinstance(condition, bool):
    return (if_true if condition else if_false)(x)
  return lax.cond(condition, if_true, if_false, x)


def weighted_gradients(
  functions: Functions, weights: Mapping[str, float], fake_BxN: jax.Array, vq: Terms
) -> tuple[Cotangents, Terms]:
  """Returns gradients of the weighted sum w.r.t. (fake_BxN, vq), and all terms."""

  def loss(fake_BxN, vq):
    terms = {}
    for function in functions:
      terms |= function(fake_BxN)
    terms |= vq
    total = sum(weights[name] * value for name, value in terms.items())
    return total, {"loss": total, **terms}

  (_, terms), cotangents = jax.value_and_grad(loss, (0, 1), has_aux=True)(fake_BxN, vq)
  return cotangents, terms


def balanced_gradients(
  functions: Functions,
  weights: Mapping[str, float],
  fake_BxN: jax.Array,
  vq: Terms,
  balancer: losses.Balancer,
  state: losses.BalancerState,
  playing: jax.Array | bool,
) -> tuple[Cotangents, Terms, losses.BalancerState]:
  """As `weighted_gradients`, with balanced terms of the output; `vq` keeps its weights.

  The term `loss` is the sum under the weights that the gradients had in this step. The
  terms of the discriminators are left out until they are `playing`.
  """
  terms, grads = {}, {}
  for function in functions:
    values, gradients = _each_gradient(function, fake_BxN)
    terms, grads = terms | values, grads | gradients
  active = dict.fromkeys(grads, True) | dict.fromkeys(_OF_DISCRIMINATORS, playing)
  combined, factors, state = balancer(grads, weights, state, active)
  of_vq = {name: jnp.full_like(value, weights[name]) for name, value in vq.items()}
  factors, terms = factors | of_vq, terms | vq
  total = sum(factors[name] * value for name, value in terms.items())
  return (combined, of_vq), {"loss": total, **terms}, state


def _each_gradient(function, x):
  """Returns the scalars that function(x) gives, by name, and the gradient of each."""
  values, pullback = jax.vjp(function, x)
  grads = {}
  for name in values:
    one_hot = {n: jnp.full_like(v, n == name) for n, v in values.items()}
    (grads[name],) = pullback(one_hot)
  return values, grads


def judge_both(
  judge: Callable[[jax.Array], losses.Maps], real_BxN: jax.Array, fake_BxN: jax.Array
) -> tuple[losses.Maps, losses.Maps]:
  """Returns feature maps of both, from one pass over a doubled batch.

  The rows of both alternate, so devices that share the batch exchange none of them.
  Period discriminators fold the period in behind the items, which keeps the order.
  """
  items = real_BxN.shape[0]
  maps = judge(jnp.stack([real_BxN, fake_BxN], 1).reshape(2 * items, -1))

  def part(number, m):
    return m.reshape(items, 2, -1, *m.shape[1:])[:, number].reshape(-1, *m.shape[1:])

  return tuple(jax.tree.map(functools.partial(part, i), maps) for i in range(2))
