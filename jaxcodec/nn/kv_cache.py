"""A `Transformer` on a growing sequence: each frame is computed once.

The cache has a fixed number of slots, and each layer arrays of its own, which a loop
writes one slot of in place. Layers are unrolled: a scan would return the whole cache as
new arrays.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.nn import attention, ops

# For each layer its keys and values: (B, H, slots, D / H) as `ops.join_heads` has it.
Cache = tuple[tuple[jax.Array, jax.Array], ...]


def empty(
  transformer: attention.Transformer, width: int, rows: int, slots: int
) -> Cache:
  """A cache in the transformer's `dtype` that nothing was written to."""
  heads = transformer.heads
  zeros = jnp.zeros((rows, heads, slots, width // heads), transformer.dtype)
  array = ops.join_heads(zeros)
  return ((array, array),) * transformer.depth


def unstacked(transformer: attention.Transformer, params: Any) -> Any:
  """The transformer's parameters as `extend` reads them; do it outside of loops.

  Each layer's are cut out of the stack once, its matrices in the type of the
  computation, as decoding one row takes as long as reading them.
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
  where: tuple[jax.Array, jax.Array, int | jax.Array],
) -> tuple[jax.Array, Cache]:
  """Computes T more frames; the same numbers as the transformer on all at once.

  Args:
    transformer: its settings.
    params: from `unstacked`.
    cache: of the slots before.
    x_BxTxD: input of the new frames.
    where: (visible_BxTxS, position_BxT, slot): which of the first S slots each new
      frame sees (itself included), the rotary positions, and the slot of the first.

  Returns:
    Output of the new frames, (B, T, D) in `dtype`, and the cache with them.
  """
  visible_BxTxS, position_BxT, slot = where
  width = x_BxTxD.shape[2]
  rope = attention.rope_table(position_BxT, width // transformer.heads)
  level_B = jnp.zeros(x_BxTxD.shape[:1], jnp.int32)
  block = attention.Block(**transformer.block_settings(width))
  x_BxTxD = x_BxTxD.astype(transformer.dtype)
  extended = []
  for layer, kept in zip(params["layers"], cache, strict=True):
    x_BxTxD, kept = block.apply(
      {"params": layer}, x_BxTxD, visible_BxTxS, rope, level_B, (*kept, slot)
    )
    extended.append(kept)
  norm = attention.RMSNorm(transformer.num_levels)
  y_BxTxD = norm.apply({"params": params["last_norm"]}, x_BxTxD, level_B)
  return y_BxTxD, tuple(extended)
