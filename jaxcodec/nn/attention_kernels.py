"""Self-attention by a kernel of the platform, which stores no scores.

`ops.attention_kernel` chooses; `attention.attend` says what all of them compute.
Arguments are (B, T, H, D), the layout that projections give.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxcodec.nn import partition
from jaxcodec.nn.visibility import Packed, Visible

# Frames of a tile on a TPU: sequences are padded to a multiple of the smallest one, and
# the largest that divides their length is taken.
_TILES = (512, 384, 256, 128)
# cuDNN's limits before Hopper, which all GPUs it has the kernel for share.
_WIDEST_HEAD, _HEAD_MULTIPLE = 128, 8
# JAX takes an even number of frames to train on, and loads are whole by eight.
CUDNN_FRAMES = 8


def cudnn_takes(dtype: jnp.dtype, head_dim: int) -> bool:
  """Whether cuDNN's fused attention takes heads of this type and width."""
  half = jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)
  return half and head_dim <= _WIDEST_HEAD and head_dim % _HEAD_MULTIPLE == 0


def cudnn(
  q_BxTxHxD: jax.Array,
  k_BxTxHxD: jax.Array,
  v_BxTxHxD: jax.Array,
  packed: Packed,
  implementation: str = "cudnn",
) -> jax.Array:
  """Attends by cuDNN's fused kernel, (B, T, H, D).

  It knows causal order and padding behind a sequence, not a prefix that all see. Frames
  behind a prefix see all of it anyway, so only the prefix itself is computed anew.

  Args:
    q_BxTxHxD, k_BxTxHxD, v_BxTxHxD: of packed frames, see `visibility.pack`, a multiple
      of `CUDNN_FRAMES` of them.
    packed: what they see.
    implementation: of `jax.nn.dot_product_attention`; "xla" computes the same anywhere.
  """
  at_T = jnp.arange(q_BxTxHxD.shape[1])[None]
  valid = (at_T < packed.length_B[:, None])[:, :, None, None]
  # Whatever a kernel does with keys behind the length, nothing comes of zeros, and the
  # gradient of this choice lets nothing back.
  k, v = (jnp.where(valid, x, 0) for x in (k_BxTxHxD, v_BxTxHxD))

  def attend(frames, seen_B, causal):
    q, *keys = (x[:, :frames] for x in (q_BxTxHxD, k, v))
    return jax.nn.dot_product_attention(
      q,
      *keys,
      is_causal=causal,
      # Also frames that aren't valid have a result; a row without any sees one zero.
      # Both lie where their rows do: the kernel takes them as they are.
      query_seq_lengths=partition.rows(jnp.full_like(seen_B, frames)),
      key_value_seq_lengths=partition.rows(jnp.maximum(seen_B, 1)),
      implementation=implementation,
    )

  out_BxTxHxD = attend(q_BxTxHxD.shape[1], packed.length_B, packed.causal)
  if not packed.prefix:
    return out_BxTxHxD
  most = min(-(-packed.prefix // CUDNN_FRAMES) * CUDNN_FRAMES, q_BxTxHxD.shape[1])
  own = attend(most, packed.prefix_B, False)
  inside = (at_T[:, :most] < packed.prefix_B[:, None])[:, :, None, None]
  first = jnp.where(inside, own, out_BxTxHxD[:, :most])
  return jnp.concatenate([first, out_BxTxHxD[:, most:]], axis=1)


def splash_takes(dtype: jnp.dtype) -> bool:
  """Whether the TPU's kernel is taken for heads of this type."""
  return jnp.dtype(dtype) == jnp.bfloat16


def splash_attention() -> Callable[..., jax.Array] | None:
  """Returns `splash` where JAX has the kernel, None elsewhere."""
  try:
    from jax.experimental.pallas.ops.tpu import splash_attention as library
  except ImportError:
    return None
  del library
  return splash


def splash(
  q_BxTxHxD: jax.Array,
  k_BxTxHxD: jax.Array,
  v_BxTxHxD: jax.Array,
  visible: Visible,
  interpret: bool = False,
) -> jax.Array:
  """Attends by the TPU kernel that skips tiles which nothing sees, (B, T, H, D).

  Padding, anywhere, is a segment of its own. Devices that share rows or heads each run
  the kernel on theirs.

  Args:
    q_BxTxHxD, k_BxTxHxD, v_BxTxHxD: of all frames.
    visible: what they see.
    interpret: whether to run it without a TPU, slowly.
  """
  _, T, _, D = q_BxTxHxD.shape
  behind = -T % _TILES[-1]

  def tiles(x_BxTxHxD):
    padded = jnp.pad(x_BxTxHxD, ((0, 0), (0, behind), (0, 0), (0, 0)))
    return jnp.swapaxes(padded, 1, 2)

  mask_BxT = jnp.pad(visible.mask_BxT, ((0, 0), (0, behind)))
  rule = _rule(T + behind, visible.causal, visible.prefix)

  def run(q, k, v, mask_BxT):
    kernel = _splash_kernel(rule, q.shape[1], interpret)
    return jax.vmap(kernel)(q, k, v, _segments(mask_BxT))

  arrays = tiles(q_BxTxHxD * D**-0.5), tiles(k_BxTxHxD), tiles(v_BxTxHxD)
  out_BxHxTxD = _by_rows_and_heads(run, *arrays, mask_BxT)
  return jnp.swapaxes(out_BxHxTxD, 1, 2)[:, :T]


def _rule(frames: int, causal: bool, prefix: int) -> np.ndarray:
  at = np.arange(frames)
  if not causal:
    return np.ones((frames, frames), bool)
  return (at[None, :] <= at[:, None]) | (at[None, :] < prefix)


def _splash_kernel(rule, heads, interpret):
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as library,
  )
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as masks,
  )

  tile = next(tile for tile in _TILES if len(rule) % tile == 0)
  names = ("q", "kv", "q_dkv", "kv_dkv", "q_dq", "kv_dq")
  return library.make_splash_mha(
    masks.MultiHeadMask([masks.NumpyMask(rule)] * heads),
    block_sizes=library.BlockSizes(**{f"block_{name}": tile for name in names}),
    head_shards=1,
    q_seq_shards=1,
    interpret=interpret,
  )


def _segments(mask_BxT):
  """Puts all queries in the segment of the valid keys."""
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as library,
  )

  valid_BxT = mask_BxT.astype(jnp.int32)
  return library.SegmentIds(q=jnp.ones_like(valid_BxT), kv=valid_BxT)


def _by_rows_and_heads(function, q_BxHxTxD, k, v, mask_BxT):
  """Runs `function` on each device's rows and heads, as XLA can't cut kernels."""
  mesh = jax.sharding.get_abstract_mesh()
  rows = tuple(axis for axis in partition.BATCH_AXES if axis in mesh.axis_names)
  heads = tuple(axis for axis in ("tensor",) if axis in mesh.axis_names)
  parts = math.prod(mesh.shape[axis] for axis in (*rows, *heads))
  if parts == 1:
    return function(q_BxHxTxD, k, v, mask_BxT)
  if q_BxHxTxD.shape[0] % math.prod(mesh.shape[axis] for axis in rows):
    rows = ()
  spec = PartitionSpec(rows or None, heads or None)
  return jax.shard_map(
    function,
    in_specs=(spec, spec, spec, PartitionSpec(rows or None)),
    out_specs=spec,
    check_vma=False,
  )(q_BxHxTxD, k, v, mask_BxT)
