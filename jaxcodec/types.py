"""The few types that every part of jaxcodec speaks: token spec, tokens, quantised."""

import dataclasses
import math
from typing import Any, NamedTuple, Protocol

import flax.struct
import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class TokenSpec:
  """All that a speech language model may know of a codec. Hashable.

  Token ids 0..codebook_size-1 are codes; `mask_id`, `pad_id` and `eos_id` follow them.
  """

  num_codebooks: int
  codebook_size: int
  hop: int
  sample_rate: int

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if not isinstance(value, int) or value < 1:
        raise ValueError(
          f"TokenSpec.{field.name} must be a positive integer, got {value!r}"
        )

  @property
  def frame_rate(self) -> float:
    """Frames per second, Hz."""
    return self.sample_rate / self.hop

  @property
  def bitrate(self) -> float:
    """Bits per second when all codebooks are used."""
    return self.frame_rate * self.num_codebooks * math.log2(self.codebook_size)

  @property
  def mask_id(self) -> int:
    return self.codebook_size

  @property
  def pad_id(self) -> int:
    return self.codebook_size + 1

  @property
  def eos_id(self) -> int:
    return self.codebook_size + 2

  @property
  def vocab_size(self) -> int:
    """Codes plus the three special ids."""
    return self.codebook_size + 3

  def num_frames(self, num_samples: int) -> int:
    """Frames that `num_samples` samples give: ceil(N / hop)."""
    return -(-num_samples // self.hop)


@flax.struct.dataclass
class Tokens:
  """Codes of a batch of audio.

  Attributes:
    codes_BxTxK: int32 codes, coarse to fine.
    mask_BxT: bool, True on valid frames.
    gain_BxS: float32 gain that the codec took out of each segment, or None.
  """

  codes_BxTxK: jax.Array
  mask_BxT: jax.Array
  gain_BxS: jax.Array | None = None

  def to_bkt(self) -> jax.Array:
    """Codes as (B, K, T), the layout of the PyTorch codecs."""
    return jnp.swapaxes(self.codes_BxTxK, 1, 2)


class Quantized(NamedTuple):
  """What a quantiser returns.

  Attributes:
    z_BxTxD: quantised latent (straight-through in training).
    codes_BxTxK: int32 codes.
    losses: scalar losses by name (`codebook`, `commitment`).
    metrics: arrays by name that are logged, not optimised.
  """

  z_BxTxD: jax.Array
  codes_BxTxK: jax.Array
  losses: dict[str, jax.Array]
  metrics: dict[str, jax.Array]


Batch = dict[str, Any]
Metrics = dict[str, jax.Array]


class Task(Protocol):
  """A model with its losses and optimisers; all that the training loop knows."""

  def init(self, rng: jax.Array, batch: Batch) -> Any:
    """Returns the train state, a pytree with an int32 scalar `.step`. Jittable."""

  def train_step(self, state: Any, batch: Batch) -> tuple[Any, Metrics]:
    """One update. Pure and jittable; metrics are scalars or one value a codebook."""

  def eval_step(self, state: Any, batch: Batch) -> Metrics:
    """Means over the batch, with a `weight` entry that says how much they count."""

  def inference_variables(self, state: Any) -> Any:
    """The variables to export: EMA weights where there are any, plus codebooks."""
