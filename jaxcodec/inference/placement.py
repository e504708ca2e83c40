"""On which devices clips are coded, and how much at once."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from jaxcodec.inference.buckets import BATCH_SAMPLES, batch_rows, group_by_length
from jaxcodec.parallel import sharding

# A codec as wide as DAC keeps about a kilobyte of activations a sample.
_BYTES_PER_SAMPLE, _MOST_SAMPLES = 2**12, 2**24


@dataclasses.dataclass(frozen=True)
class Placement:
  """Devices that share the rows of a batch.

  Attributes:
    devices: the default one alone if there are none.
    samples: in a device's part of a batch, about.
  """

  devices: tuple[jax.Device, ...] = ()
  samples: int = BATCH_SAMPLES

  @property
  def parts(self) -> int:
    """Into how many parts the rows of a batch are divided."""
    return max(1, len(self.devices))

  def group_by_length(
    self, frames: Sequence[int], hop: int
  ) -> Iterator[tuple[int, int, list[int]]]:
    """Groups clips of so many frames; the devices can share the rows of a batch.

    Yields:
      As `buckets.group_by_length`.
    """
    rows = batch_rows(hop, self.samples)
    in_batch = lambda padded: self.parts * rows(padded)  # noqa: E731
    return group_by_length(frames, in_batch, self.parts)

  def put(self, tree: Any, *, split: bool = False) -> Any:
    """Puts arrays on all devices, whole, or their first axis `split` over them."""
    if not self.devices:
      return tree if split else jax.device_put(tree)
    place = sharding.batch_sharding if split else sharding.replicated
    return jax.device_put(tree, place(self._mesh))

  def share(self) -> contextlib.AbstractContextManager[Any]:
    """Context in which programs compute each row where it lies; see `nn.partition`."""
    if not self.devices:
      return contextlib.nullcontext()
    return sharding.use_mesh(self._mesh)

  @property
  def _mesh(self) -> Mesh:
    return sharding.make_mesh(devices=self.devices)


def for_corpus() -> Placement:
  """Returns all of this process' accelerators, and batches by their memory.

  A CPU computes one batch with all of its cores already.
  """
  devices = jax.local_devices()
  if devices[0].platform == "cpu":
    return Placement()
  memory = (devices[0].memory_stats() or {}).get("bytes_limit", 0)
  return Placement(tuple(devices), samples_for(memory))


def samples_for(memory: int) -> int:
  """Returns how many samples a device with so many bytes of memory codes at once."""
  samples = min(max(memory // _BYTES_PER_SAMPLE, BATCH_SAMPLES), _MOST_SAMPLES)
  return 1 << (samples.bit_length() - 1)
