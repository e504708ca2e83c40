"""Sizes and layouts that keep arrays near the processor."""

import jax


def join_heads(x_BxHxTxD: jax.Array) -> jax.Array:
  """See `plain.join_heads`: one axis, (B * H, T, D).

  It is the layout of XLA:CPU's batched products; a cache in any other is copied at
  every step.
  """
  B, H, T, D = x_BxHxTxD.shape
  return x_BxHxTxD.reshape(B * H, T, D)


def cache_sizes(frames: int) -> list[int]:
  """See `plain.cache_sizes`; one, as compiling takes longer than a small cache."""
  return [frames]


def score_numbers() -> int:
  """See `plain.score_numbers`; as many as stay in a core's cache."""
  return 2**18


def window_numbers() -> int:
  """See `plain.window_numbers`; slightly fewer than `toom_cook.pays` allows."""
  return 2_000_000
