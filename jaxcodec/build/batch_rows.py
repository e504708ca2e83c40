"""How devices and processes share the rows of a batch."""

from jax.sharding import Mesh

from jaxcodec.build.fields import ConfigError
from jaxcodec.parallel import sharding


def check_batch_size(section: str, size: int, parallel: int, parts: int) -> None:
  """Raises ConfigError unless `parallel` devices can share each part of a batch.

  Args:
    section: of the config, which the error names.
    size: rows of a batch.
    parallel: devices that share a batch.
    parts: that a batch is computed in.
  """
  if size % (parallel * parts):
    raise ConfigError(
      f"{section}.batch_size ({size}) must be a multiple of the {parallel} devices"
      f" that share a batch (see mesh) times {section}.accumulate ({parts})"
    )


def shard(mesh: Mesh) -> dict[str, int]:
  """The part of each batch that this process reads, as arguments of `data.batches`."""
  part = sharding.batch_part(mesh)
  return {"shard_index": part.index, "shard_count": part.count}


def rows(mesh: Mesh, batch_size: int) -> dict[str, int]:
  """As `shard`, with how many of a batch's rows that is."""
  part = shard(mesh)
  return {"batch_size": batch_size // part["shard_count"], **part}
