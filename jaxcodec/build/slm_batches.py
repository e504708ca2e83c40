"""What speech language models train on: windows, or whole utterances with their texts.

The attributes of a kind are the fields of `slm_train` that belong to it.
"""

import abc
import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxcodec.build import batch_rows
from jaxcodec.build.fields import Config, ConfigError, positive, whole_frames
from jaxcodec.data.batches import token_windows
from jaxcodec.data.batches.continuations import Continuations
from jaxcodec.data.batches.length_buckets import make_buckets, padded_frames
from jaxcodec.data.batches.utterances import utterance_batches
from jaxcodec.data.held_out import by_chance
from jaxcodec.data.sources.synthetic import synthetic_tokens
from jaxcodec.data.text.vocabulary import wrapped
from jaxcodec.data.token_store import TokenSource
from jaxcodec.parallel import sharding
from jaxcodec.types import TokenSpec

_SECTION = "slm_train"
Shapes = dict[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class Batches(abc.ABC):
  """A way to make batches of token records, with its settings."""

  @abc.abstractmethod
  def check(self, spec: TokenSpec) -> None:
    """Raises ConfigError, which names the field, if a value cannot be."""

  @abc.abstractmethod
  def check_devices(self, spec: TokenSpec, parallel: int, accumulate: int) -> None:
    """Raises ConfigError if `parallel` devices cannot share a batch of these parts."""

  @abc.abstractmethod
  def make(
    self,
    train: TokenSource,
    held_out: TokenSource,
    *,
    spec: TokenSpec,
    mesh: Mesh,
    seed: int,
    accumulate: int,
  ) -> tuple[Iterable[Any], Iterable[Any]]:
    """This process' rows of the batches to train on, and of those to measure."""

  @abc.abstractmethod
  def shapes(self, config: Config, spec: TokenSpec, parallel: int) -> Shapes:
    """Of a whole batch, the largest that there is, for `parallel` devices."""

  def make_synthetic(
    self, num_semantic: int, *, spec: TokenSpec, mesh: Mesh, seed: int
  ) -> Iterable[Any]:
    """Noise in the place of the batches to train on; ConfigError if there is none."""
    raise ConfigError(
      "data.source='synthetic' has no noise for the batches of this slm.name"
      f" ({type(self).__name__}); use recordings"
    )


@dataclasses.dataclass(frozen=True)
class TokenWindows(Batches):
  """Windows of one length.

  Attributes:
    batch_size: windows in a batch.
    crop_seconds: length of each.
    fill: whether short utterances are followed by others of their speaker.
  """

  batch_size: int
  crop_seconds: float
  fill: bool = False  # as before there was the field

  def check(self, spec: TokenSpec) -> None:
    positive(vars(self), _SECTION, "batch_size")
    self._frames(spec)

  def check_devices(self, spec: TokenSpec, parallel: int, accumulate: int) -> None:
    batch_rows.check_batch_size(_SECTION, self.batch_size, parallel, accumulate)

  def make(self, train, held_out, *, spec, mesh, seed, accumulate):
    shape = self._shape(spec, mesh)
    order = by_chance([label["id"] for label in held_out.labels])
    return (
      token_windows.token_batches(train, seed=seed, fill=self.fill, **shape),
      token_windows.eval_token_batches(held_out, order, **shape),
    )

  def shapes(self, config: Config, spec: TokenSpec, parallel: int) -> Shapes:
    return _token_shapes(self.batch_size, self._frames(spec), spec)

  def make_synthetic(self, num_semantic, *, spec, mesh, seed):
    return synthetic_tokens(
      num_codebooks=spec.num_codebooks,
      codebook_size=spec.codebook_size,
      num_semantic=num_semantic,
      seed=seed,
      **self._shape(spec, mesh),
    )

  def _frames(self, spec):
    return whole_frames({_SECTION: vars(self)}, _SECTION, "crop_seconds", spec)

  def _shape(self, spec, mesh):
    rows = batch_rows.rows(mesh, self.batch_size)
    return {**rows, "frames": self._frames(spec)}


@dataclasses.dataclass(frozen=True)
class Utterances(Batches):
  """Whole utterances with their texts, those of like length together.

  Attributes:
    max_seconds: longer utterances are left out.
    frames_per_batch: at most so many, padding included.
    num_buckets: shapes of batches.
    continuations: times that each utterance is also read behind another one.
  """

  max_seconds: float
  frames_per_batch: int
  num_buckets: int
  continuations: int

  def check(self, spec: TokenSpec) -> None:
    self._frames(spec)
    for name in ("frames_per_batch", "num_buckets"):
      positive(vars(self), _SECTION, name)
    if self.continuations != 0:
      positive(vars(self), _SECTION, "continuations")

  def check_devices(self, spec: TokenSpec, parallel: int, accumulate: int) -> None:
    frames, rows = padded_frames(self._frames(spec)), parallel * accumulate
    if self.frames_per_batch < frames * rows:
      raise ConfigError(
        f"slm_train.frames_per_batch ({self.frames_per_batch}) must hold {rows}"
        " utterances, one for each device that shares a batch and each of"
        f" slm_train.accumulate parts, of slm_train.max_seconds ({frames} frames)"
      )

  def make(self, train, held_out, *, spec, mesh, seed, accumulate):
    """The batches to measure have one shape."""
    budget = {
      "budget": self.frames_per_batch,
      "max_frames": self._frames(spec),
      "rows_multiple": sharding.batch_parallelism(mesh) * accumulate,
    }
    train = Continuations(train, times=self.continuations, seed=seed)
    buckets = make_buckets(train, num_buckets=self.num_buckets, **budget)
    one_bucket = make_buckets(held_out, num_buckets=1, **budget)
    settings = {"seed": seed, **batch_rows.shard(mesh)}
    return (
      utterance_batches(train, buckets, **settings),
      utterance_batches(held_out, one_bucket, repeat=False, **settings),
    )

  def shapes(self, config: Config, spec: TokenSpec, parallel: int) -> Shapes:
    """Utterances as long as `max_seconds` with as long texts as there may be."""
    frames = padded_frames(self._frames(spec))
    multiple = parallel * config["slm_train"]["accumulate"]
    rows = self.frames_per_batch // (frames * multiple) * multiple
    symbols = config["text"]["max_symbols"] + len(wrapped())
    return {
      **_token_shapes(rows, frames, spec),
      "text_BxS": jax.ShapeDtypeStruct((rows, symbols), jnp.int32),
      "text_mask_BxS": jax.ShapeDtypeStruct((rows, symbols), jnp.bool_),
      "prompt_symbols_B": jax.ShapeDtypeStruct((rows,), jnp.int32),
      "prompt_frames_B": jax.ShapeDtypeStruct((rows,), jnp.int32),
    }

  def _frames(self, spec):
    return whole_frames({_SECTION: vars(self)}, _SECTION, "max_seconds", spec)


def _token_shapes(rows: int, frames: int, spec: TokenSpec) -> Shapes:
  shape = rows, frames
  return {
    "codes_BxTxK": jax.ShapeDtypeStruct((*shape, spec.num_codebooks), jnp.int32),
    "semantic_BxT": jax.ShapeDtypeStruct(shape, jnp.int32),
    "mask_BxT": jax.ShapeDtypeStruct(shape, jnp.bool_),
    "index_B": jax.ShapeDtypeStruct((rows,), jnp.int32),
  }
