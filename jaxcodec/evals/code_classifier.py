"""A classifier of frames by their codes, and how surprised it is by others' labels.

It has one hidden layer on one-hot codes, and linear terms beside it. One network is
given codebook 0, codebooks 0 and 1, and so on up to all: the weights of a codebook's
codes are shared, the layer after them is not.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

_HIDDEN = 64
_PRIOR = 50.0  # one over the variance of the weights' normal prior
_EPOCHS, _RATE = 5, 1e-2  # the learning rate falls to zero by a cosine
_BATCH, _STEPS = 1024, 16  # frames of a step, and steps in one call
_ADAM = optax.scale_by_adam()


class Frames(NamedTuple):
  """Frames with the label of each: codes (N, K) and labels (N,), integers from 0."""

  codes_NxK: np.ndarray
  label_N: np.ndarray


def surprisals(
  train: Frames,
  valid: Frames,
  test: Frames,
  *,
  num_labels: int,
  codebook_size: int,
  seed: int = 0,
) -> np.ndarray:
  """Returns minus log2 of each label's probability in `test`, (N, K).

  Column k is given codebooks 0 to k. Each column is of the epoch in which `valid` was
  surprised least, so that what is learned by heart is not used on `test`. The labels'
  frequencies, by which the network begins, stand in for one that never helped.

  Args:
    train: frames to train on.
    valid: other frames, to choose the epoch by.
    test: frames that have no influence.
    num_labels: labels are below it.
    codebook_size: codes are below it.
    seed: of the weights and of the order.
  """
  rng = np.random.default_rng(seed)
  start = train.codes_NxK.shape[1], codebook_size, num_labels, train.label_N
  params = _initial(rng, *start)
  state = _ADAM.init(params)
  size = _BATCH * _STEPS
  calls = -(-len(train.label_N) // size)
  best_K = _all_surprisals(params, valid).mean(0)
  found = _all_surprisals(params, test)
  for epoch in range(_EPOCHS):
    order = np.resize(rng.permutation(len(train.label_N)), calls * size)
    for call, chosen in enumerate(order.reshape(calls, _STEPS, _BATCH)):
      done = (epoch + call / calls) / _EPOCHS
      rate = _RATE * 0.5 * (1 + np.cos(np.pi * done))
      batches = train.codes_NxK[chosen], train.label_N[chosen]
      settings = np.float32(rate), np.float32(_PRIOR / len(train.label_N))
      params, state = _train(params, state, *batches, *settings)
    now_K = _all_surprisals(params, valid).mean(0)
    better_K = now_K < best_K
    best_K = np.where(better_K, now_K, best_K)
    found = np.where(better_K, _all_surprisals(params, test), found)
  return found


def _initial(rng, K, V, C, label_N) -> dict[str, Any]:
  """Returns weights that begin with the labels' frequencies."""
  share_C = (np.bincount(label_N, minlength=C) + 1) / (len(label_N) + C)

  return {
    "hidden": rng.normal(0, 0.3, (K * V, _HIDDEN)).astype(np.float32),
    "hidden_bias": np.zeros((K, _HIDDEN), np.float32),
    "linear": np.zeros((K * V, C), np.float32),
    "out": np.zeros((K, _HIDDEN, C), np.float32),
    "bias": np.tile(np.log(share_C), (K, 1)).astype(np.float32),
  }


@jax.jit
def _train(params, state, codes_SxBxK, label_SxB, rate, decay):
  """Takes a step a batch, down the surprise and the weights' prior.

  The prior keeps the weights of rare codes small, which Adam would move as far as
  those of frequent ones.
  """

  def step(carry, batch):
    params, state = carry
    grads = jax.grad(lambda p: _nats(p, *batch).mean(0).sum())(params)
    grads = jax.tree.map(lambda g, p: g + decay * p, grads, params)
    updates, state = _ADAM.update(grads, state)
    return (jax.tree.map(lambda p, u: p - rate * u, params, updates), state), None

  return jax.lax.scan(step, (params, state), (codes_SxBxK, label_SxB))[0]


_nats_of = jax.jit(lambda *args: _nats(*args))


def _all_surprisals(params, frames: Frames) -> np.ndarray:
  """Returns the surprisals of all frames, computed in pieces of one size."""
  size, found = _BATCH * _STEPS, []
  for first in range(0, len(frames.label_N), size):
    piece = Frames(*(array[first : first + size] for array in frames))
    missing = size - len(piece.label_N)
    codes_NxK = np.pad(piece.codes_NxK, ((0, missing), (0, 0)))
    nats_NxK = _nats_of(params, codes_NxK, np.pad(piece.label_N, (0, missing)))
    found.append(np.asarray(nats_NxK)[: len(piece.label_N)])
  return np.concatenate(found) / np.log(2)


def _nats(params, codes_BxK, label_B):
  """Returns minus log of each label's probability given codebooks 0 to k, (B, K)."""
  K = codes_BxK.shape[1]
  V = len(params["linear"]) // K
  at_BxK = codes_BxK + V * jnp.arange(K)[None]
  hidden = jnp.cumsum(params["hidden"][at_BxK], 1) + params["hidden_bias"][None]
  logits_BxKxC = jnp.einsum("bkh,khc->bkc", jax.nn.gelu(hidden), params["out"])
  linear = jnp.cumsum(params["linear"][at_BxK], 1) + params["bias"][None]
  log_BxKxC = jax.nn.log_softmax(logits_BxKxC + linear)
  return -jnp.take_along_axis(log_BxKxC, label_B[:, None, None], -1)[..., 0]
