"""Runs a `Transformer` on a growing sequence, computing each frame once.

The cache has a fixed number of slots; between loops it can grow. Each layer has arrays
of its own, so that a loop can write one slot in place; a scan over layers would return
the whole cache anew.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.nn import attention, ops, visibility
from jaxcodec.nn.self_attention import arrange

# For each layer its keys and values: (B, H, slots, D / H) as `ops.join_heads` has it.
Cache = tuple[tuple[jax.Array, jax.Array], ...]


def empty(
  transformer: attention.Transformer, width: int, rows: int, slots: int
) -> Cache:
  """Returns an empty cache in the transformer's `dtype`."""
  heads = transformer.heads
  zeros = jnp.zeros((rows, heads, slots, width // heads), transformer.dtype)
  array = ops.join_heads(zeros)
  return ((array, array),) * transformer.depth


def grow(cache: Cache, slots: int) -> Cache:
  """Returns the cache with empty slots behind its own, `slots` in all."""

  def longer(array):
    missing = slots - array.shape[-2]
    around = [(0, 0)] * (array.ndim - 2)
    return jnp.pad(array, [*around, (0, missing), (0, 0)]) if missing else array

  return jax.tree.map(longer, cache)


def num_slots(cache: Cache) -> int:
  """Returns how many slots a cache has."""
  return cache[0][0].shape[-2]


def unstack_layers(transformer: attention.Transformer, params: Any) -> Any:
  """Returns the transformer's parameters as `extend` takes them; call it before loops.

  It cuts each layer's out of the stack and converts matrices to the compute type, once:
  decoding one row takes as long as reading them.
  """

  def layer(index):
    def cut(path, stacked):
      matrix = path[-1].key == "kernel"
      return stacked[index].astype(transformer.dtype if matrix else stacked.dtype)

    return jax.tree_util.tree_map_with_path(cut, params["layers"])

  return params | {"layers": tuple(layer(i) for i in range(transformer.depth))}


def extend(
  transformer: attention.Transformer,
  params: Any,
  cache: Cache,
  x_BxTxD: jax.Array,
  where: tuple[jax.Array | attention.Visible, jax.Array, int | jax.Array],
) -> tuple[jax.Array, Cache]:
  """Computes T more frames, to the same numbers as the transformer on all at once.

  Args:
    transformer: the model's settings.
    params: from `unstack_layers`.
    cache: of the slots before.
    x_BxTxD: input of the new frames.
    where: (visible, position_BxT, slot): which of the first S slots each new
      frame sees, itself included, as an array or, for the first frames, as a rule; the
      rotary positions; the slot of the first frame.

  Returns:
    Output of the new frames, (B, T, D) in `dtype`, and the cache with them.
  """
  sight, position_BxT, slot = where
  width, heads = x_BxTxD.shape[2], transformer.heads
  places_BxT = None
  if not isinstance(sight, jax.Array):
    x_BxTxD, position_BxT, sight, places_BxT = arrange(
      x_BxTxD, position_BxT, sight, transformer.dtype, heads
    )
  rope = attention.rope_table(position_BxT, width // heads)
  level_B = jnp.zeros(x_BxTxD.shape[:1], jnp.int32)
  block = attention.Block(**transformer.block_settings(width))
  x_BxTxD = x_BxTxD.astype(transformer.dtype)
  extended = []
  for layer, kept in zip(params["layers"], cache, strict=True):
    slots = attention.Slots(kept, slot, places_BxT)
    x_BxTxD, kept = block.apply({"params": layer}, x_BxTxD, sight, rope, level_B, slots)
    extended.append(kept)
  norm = attention.RMSNorm(transformer.num_levels)
  y_BxTxD = norm.apply({"params": params["last_norm"]}, x_BxTxD, level_B)
  if places_BxT is not None:
    y_BxTxD = visibility.reorder(y_BxTxD, places_BxT)
  return y_BxTxD, tuple(extended)
