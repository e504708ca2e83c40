"""Layers that go on from where they stopped, so that blocks give what the whole gives.

A causal layer has a method `step(x_BxTxC, state, valid_B)` beside its call, which
returns its output and the state after the block. State None is a clip's beginning,
which is padded as in the call, and must have `reach.lead` frames. Arrays of states have
the batch first, so that rows can be put in and taken out. `valid_B` tells how many
frames of the block each item has left; None stands for whole blocks.
"""

from collections.abc import Sequence
from typing import Any

import jax


def step_layers(
  layers: Sequence[Any],
  x_BxTxC: jax.Array,
  states: Sequence[Any] | None = None,
  valid_B: jax.Array | None = None,
) -> tuple[jax.Array, list[Any], jax.Array | None]:
  """Steps layers in a row; returns the output, their states, and its valid frames."""
  after = []
  for layer, state in zip(layers, states or [None] * len(layers), strict=True):
    x_BxTxC, state = layer.step(x_BxTxC, state, valid_B)
    valid_B = layer.reach.outputs(valid_B)
    after.append(state)
  return x_BxTxC, after, valid_B
