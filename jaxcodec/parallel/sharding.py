"""Places every array on devices: one mesh, one table of paths, one rule for batches."""

import contextlib
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxcodec.nn.partition import BATCH_AXES

AXES = ("data", "fsdp", "tensor")
LARGEST = "largest"


@dataclasses.dataclass(frozen=True)
class Rules:
  """The sharding table.

  Attributes:
    paths: (regex, logical axes) pairs; the first regex found in a leaf's path decides.
      Paths look like `opt_state/0/mu/decoder/conv/kernel`, so a regex that ends in `$`
      matches a parameter, its optimiser moments and its average alike. Logical axes
      name the last dimensions of the leaf (None: replicated); `LARGEST` shards the
      largest dimension that the `fsdp` axis divides. Leaves that match no regex, or
      have fewer dimensions than it names, are replicated.
    axes: logical axis -> mesh axis.
    min_size: leaves with fewer elements are replicated under `LARGEST`, since gathering
      them would cost more than their memory.
  """

  paths: tuple[tuple[str, str | tuple[str | None, ...]], ...]
  axes: Mapping[str, str] = dataclasses.field(default_factory=dict)
  min_size: int = 2**14


# Transformers are sharded over heads and hidden units (`tensor`) and over their width
# (`fsdp`); other matrices, convolutions and LSTMs over `fsdp` only. Biases, gains and
# norms are replicated because they are small, codebooks and `nn.Embed` tables because
# rows are looked up in them.
DEFAULT_RULES = Rules(
  paths=(
    (r"/qkv/kernel$", ("embed", None, "heads", None)),
    (r"/attention_out/kernel$", ("heads", None, "embed")),
    (r"/mlp_in/kernel$", ("embed", None, "mlp")),
    (r"/mlp_out/kernel$", ("mlp", "embed")),
    (r"/(kernel|code_embed|head|weight_ih|weight_hh)$", LARGEST),
    (r"(^|/)vq_stats/|/(embedding|gain)$", ()),
  ),
  axes={"embed": "fsdp", "heads": "tensor", "mlp": "tensor"},
)


def make_mesh(
  shape: Mapping[str, int] | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """Makes a mesh with the axes `data`, `fsdp` and `tensor`.

  Args:
    shape: size of each axis, 1 where absent; one may be -1, which takes the rest of
      the devices. Default: all on `data`.
    devices: default all. A single process may use only the first of them.

  Raises:
    ValueError: naming the field `mesh.<axis>` that is unknown or doesn't fit.
  """
  devices = list(jax.devices() if devices is None else devices)
  sizes = _axis_sizes({"data": -1} if shape is None else shape, len(devices))
  used = math.prod(sizes)
  if used > len(devices) or (used < len(devices) and jax.process_count() > 1):
    described = ", ".join(f"{a}={n}" for a, n in zip(AXES, sizes, strict=True))
    raise ValueError(
      f"mesh needs {used} devices ({described}), there are {len(devices)}"
    )
  # `jax.make_mesh` defaults to Explicit axes, which turn sharding constraints into
  # assertions.
  grid = np.array(devices[:used]).reshape(sizes)
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def use_mesh(mesh: Mesh) -> contextlib.AbstractContextManager:
  """Context in which sharding constraints of traced code refer to `mesh`."""
  # JAX 0.7 has only the second name. Under `with mesh:` logical constraints do nothing.
  return jax.set_mesh(mesh) if hasattr(jax, "set_mesh") else jax.sharding.use_mesh(mesh)


def state_shardings(mesh: Mesh, abstract_state: Any, rules: Rules) -> Any:
  """Returns the `NamedSharding` of each leaf of a state of `ShapeDtypeStruct`s.

  Raises:
    ValueError: naming the leaf whose dimension its mesh axis doesn't divide.
  """

  def sharding(path, leaf):
    return NamedSharding(mesh, _leaf_spec(mesh, leaf_path(path), leaf.shape, rules))

  return jax.tree_util.tree_map_with_path(sharding, abstract_state)


def place_shapes(abstract_state: Any, shardings: Any) -> Any:
  """Adds shardings to `ShapeDtypeStruct`s; both are trees of the same structure."""
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    abstract_state,
    shardings,
  )


def leaf_path(key_path: tuple[Any, ...]) -> str:
  """Writes a key path of `jax.tree_util` as `opt_state/0/mu/decoder/conv/kernel`."""
  return jax.tree_util.keystr(key_path, simple=True, separator="/")


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of the first dimension over `data` and `fsdp`."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def put_batch(mesh: Mesh, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
  """Puts the numeric arrays of this process' part of a batch on the devices.

  It leaves out entries that no device can hold (text, ids as strings).

  Raises:
    ValueError: naming the entry whose first dimension doesn't divide.
  """
  sharding = batch_sharding(mesh)
  local = batch_parallelism(mesh) // batch_part(mesh).count
  arrays = {}
  for name, value in batch.items():
    value = np.asarray(value)
    if value.dtype.kind not in "biuf":
      continue
    value = value.astype(jax.dtypes.canonicalize_dtype(value.dtype), copy=False)
    if value.ndim == 0 or value.shape[0] % local:
      raise ValueError(
        f"batch entry {name!r} has shape {value.shape}: its first dimension must be a"
        f" multiple of {local}, the devices on the mesh axes {' x '.join(BATCH_AXES)}"
      )
    arrays[name] = jax.make_array_from_process_local_data(sharding, value)
  return arrays


def batch_parallelism(mesh: Mesh) -> int:
  """Returns the number of parts that a batch is divided into."""
  return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


class BatchPart(NamedTuple):
  """Part `index` of the `count` equal parts in which processes read a batch's rows."""

  index: int
  count: int


def batch_part(mesh: Mesh) -> BatchPart:
  """Returns the part of every batch that this process reads.

  Processes whose devices hold the same rows, because the `tensor` axis spans them, read
  the same part.

  Raises:
    ValueError: if processes share some rows of a batch and not others.
  """
  parts = batch_parallelism(mesh)
  rows: dict[int, set[int]] = {}
  for device, (where,) in batch_sharding(mesh).devices_indices_map((parts,)).items():
    rows.setdefault(device.process_index, set()).add(where.start or 0)
  shards = sorted({tuple(sorted(held)) for held in rows.values()})
  if len(shards) * len(shards[0]) != parts or len(set(map(len, shards))) > 1:
    raise ValueError(
      f"mesh {dict(mesh.shape)}: its {' x '.join(BATCH_AXES)} axes cut batches into"
      f" {parts} parts that the {jax.process_count()} processes cannot share evenly"
    )
  return BatchPart(shards.index(tuple(sorted(rows[jax.process_index()]))), len(shards))


def to_host(tree: Any) -> Any:
  """Returns the tree as numpy arrays, gathered from all processes where needed."""

  def whole(leaf):
    if leaf.is_fully_addressable or leaf.is_fully_replicated:
      return np.asarray(leaf)
    return multihost_utils.process_allgather(leaf, tiled=True)

  return jax.tree.map(whole, tree)


def bytes_per_device(leaf: jax.ShapeDtypeStruct | jax.Array) -> int:
  """Bytes of an array, which has a sharding, that one device holds."""
  return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def describe(abstract_state: Any) -> str:
  """Returns a table of a state: path, shape, type, mesh axes, bytes on a device.

  Args:
    abstract_state: a tree of `ShapeDtypeStruct`s with shardings.
  """
  leaves = jax.tree_util.tree_leaves_with_path(abstract_state)
  rows, per_device, total = [], 0, 0
  for path, leaf in leaves:
    held = bytes_per_device(leaf)
    per_device, total = per_device + held, total + leaf.size * leaf.dtype.itemsize
    shape = "x".join(map(str, leaf.shape)) or "scalar"
    axes = ",".join(axis or "-" for axis in leaf.sharding.spec) or "whole"
    rows.append((leaf_path(path), shape, str(leaf.dtype), axes, f"{held:,}"))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = [
    "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    for row in rows
  ]
  totals = f"{total:,} bytes of state, {per_device:,} a device"
  return "\n".join([*map(str.rstrip, lines), totals])


def _axis_sizes(shape: Mapping[str, int], num_devices: int) -> list[int]:
  for axis, size in shape.items():
    if axis not in AXES:
      raise ValueError(f"mesh.{axis} is unknown: the axes are {', '.join(AXES)}")
    if not isinstance(size, int) or (size < 1 and size != -1):
      raise ValueError(f"mesh.{axis} must be a positive integer or -1, got {size!r}")
  sizes = [shape.get(axis, 1) for axis in AXES]
  if sizes.count(-1) > 1:
    raise ValueError(f"only one mesh axis can be -1, got {dict(shape)}")
  if -1 in sizes:
    fixed = -math.prod(sizes)
    if num_devices % fixed:
      raise ValueError(
        f"mesh {dict(shape)}: {fixed} doesn't divide the {num_devices} devices"
      )
    sizes[sizes.index(-1)] = num_devices // fixed
  return sizes


def _leaf_spec(mesh, path: str, shape: tuple[int, ...], rules: Rules) -> PartitionSpec:
  for pattern, axes in rules.paths:
    if re.search(pattern, path):
      if axes == LARGEST:
        return _largest_spec(mesh, shape, rules.min_size)
      return _logical_spec(mesh, path, shape, axes, rules.axes)
  return PartitionSpec()


def _largest_spec(mesh, shape: tuple[int, ...], min_size: int) -> PartitionSpec:
  parts = mesh.shape["fsdp"]
  divisible = [i for i, size in enumerate(shape) if size and size % parts == 0]
  if parts == 1 or not divisible or math.prod(shape) < min_size:
    return PartitionSpec()
  # Of equal sizes the last: there kernels hold their output channels.
  largest = max(divisible, key=lambda i: (shape[i], i))
  return PartitionSpec(*(None,) * largest, "fsdp")


def _logical_spec(mesh, path, shape, names, axes) -> PartitionSpec:
  if not names or len(shape) < len(names):
    return PartitionSpec()
  spec: list[str | None] = [None] * (len(shape) - len(names))
  for name in names:
    axis = None if name is None else axes[name]
    size = shape[len(spec)]
    if axis is not None and size % mesh.shape[axis]:
      raise ValueError(
        f"{path}: dimension {len(spec)} of shape {shape} ({name}) must be a multiple"
        f" of {mesh.shape[axis]}, the size of mesh axis {axis!r}"
      )
    spec.append(axis if axis is not None and mesh.shape[axis] > 1 else None)
  return PartitionSpec(*spec)
