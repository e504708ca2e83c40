"""The types that every part of jaxcodec shares: token spec, tokens, tasks, models."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec import token_file
from jaxcodec.coding.scored import Scores, ScoresOrName

Array = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True)
class TokenSpec:
  """All that a speech language model may know of a codec. Hashable.

  Token ids 0 to codebook_size - 1 are codes; `mask_id`, `pad_id` and `eos_id` follow.

  Attributes:
    num_codebooks: K.
    codebook_size: V, codes of each codebook.
    hop: samples a frame.
    sample_rate: Hz.
  """

  num_codebooks: int
  codebook_size: int
  hop: int
  sample_rate: int

  def __post_init__(self) -> None:
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
    """Returns the frames of so many samples, ceil(N / hop)."""
    return -(-num_samples // self.hop)


@flax.struct.dataclass
class Origin:
  """The audio and the codec that tokens come from; jit traces `num_samples_B` alone.

  Attributes:
    num_samples_B: length of each item's audio, at its own rate.
    sample_rate: that rate, Hz.
    spec: of the codec.
    fingerprint: of the codec's weights.
    num_channels: how many items in succession are the channels of one recording.
  """

  num_samples_B: Array
  sample_rate: int = flax.struct.field(pytree_node=False)
  spec: TokenSpec = flax.struct.field(pytree_node=False)
  fingerprint: str = flax.struct.field(pytree_node=False)
  num_channels: int = flax.struct.field(pytree_node=False, default=1)


@flax.struct.dataclass
class Tokens:
  """Codes of a batch of audio.

  Attributes:
    codes_BxTxK: int32 codes, coarse to fine.
    mask_BxT: bool, True on valid frames. Those of an item come first, but for a few
      between the segments that some codecs cut audio into.
    gain_BxS: float32 gain that the codec took out of each segment, or None.
    origin: what they were made from, where that is known.
  """

  codes_BxTxK: Array
  mask_BxT: Array
  gain_BxS: Array | None = None
  origin: Origin | None = None

  @classmethod
  def from_bkt(
    cls,
    codes_BxKxT: Any,
    lengths: Sequence[int] | None = None,
    origin: Origin | None = None,
  ) -> "Tokens":
    """Makes tokens of codes in the layout of PyTorch's codecs.

    Args:
      codes_BxKxT: integers (B, K, T): numpy, jax or a tensor on the CPU.
      lengths: valid frames of each item; all if None.
      origin: what they were made from; needed by `save`.

    Raises:
      ValueError: another shape or type, or lengths that are not 1 to T.
    """
    codes = np.asarray(codes_BxKxT)
    if codes.ndim != 3 or not np.issubdtype(codes.dtype, np.integer) or not codes.size:
      raise ValueError(
        f"codes must be integers (B, K, T), got {codes.dtype} {codes.shape}"
      )
    B, _, T = codes.shape
    length_B = np.full(B, T) if lengths is None else np.asarray(lengths)
    if length_B.shape != (B,) or not ((length_B > 0) & (length_B <= T)).all():
      raise ValueError(f"lengths must be {B} integers from 1 to {T}, got {lengths}")
    mask_BxT = np.arange(T)[None] < length_B[:, None]
    return cls(codes.swapaxes(1, 2).astype(np.int32), mask_BxT, origin=origin)

  def to_bkt(self) -> jax.Array:
    """Returns the codes as (B, K, T), the layout of PyTorch's codecs."""
    return jnp.swapaxes(self.codes_BxTxK, 1, 2)

  def num_frames(self) -> list[int]:
    """Counts the frames of each item up to its last valid one. Not for use in jit."""
    mask_BxT = np.asarray(self.mask_BxT)
    at_T = np.arange(1, mask_BxT.shape[1] + 1)
    return (mask_BxT * at_T[None]).max(-1, initial=0).tolist()

  def save(self, path: str | os.PathLike, *, entropy: bool | Scores = False) -> None:
    """Writes the valid frames to a token file; see `token_file.write`.

    Raises:
      ValueError: tokens without an origin, or with codes that it does not allow.
    """
    origin, gain_BxS = self.origin, self.gain_BxS
    if origin is None:
      raise ValueError(f"{path}: cannot be written: these tokens have no origin")
    mask_BxT = np.asarray(self.mask_BxT)
    codes_BxTxK = np.where(mask_BxT[..., None], np.asarray(self.codes_BxTxK), 0)
    rows = list(enumerate(self.num_frames()))
    content = token_file.TokenFile(
      spec=dataclasses.asdict(origin.spec),
      codes=[codes_BxTxK[row, :T] for row, T in rows],
      gaps=[np.flatnonzero(~mask_BxT[row, :T]).tolist() for row, T in rows],
      num_samples=np.asarray(origin.num_samples_B).tolist(),
      sample_rate=origin.sample_rate,
      fingerprint=origin.fingerprint,
      gains=None if gain_BxS is None else np.asarray(gain_BxS).tolist(),
      num_channels=origin.num_channels,
    )
    token_file.write(path, content, entropy=entropy)

  @classmethod
  def load(
    cls, path: str | os.PathLike, *, language_model: ScoresOrName = None
  ) -> "Tokens":
    """Reads a file of `save`, as `token_file.read` does; the tokens are numpy arrays.

    Raises:
      FileNotFoundError, ValueError: naming the file.
    """
    content = token_file.read(path, language_model=language_model)
    frames = np.array([len(codes_TxK) for codes_TxK in content.codes])
    mask_BxT = np.arange(frames.max()) < frames[:, None]
    codes_BxTxK = np.zeros((*mask_BxT.shape, content.codes[0].shape[1]), np.int32)
    codes_BxTxK[mask_BxT] = np.concatenate(content.codes)
    for mask_T, gaps in zip(mask_BxT, content.gaps, strict=True):
      mask_T[gaps] = False
    gain_BxS = None if content.gains is None else np.array(content.gains, np.float32)
    origin = Origin(
      np.array(content.num_samples),
      content.sample_rate,
      TokenSpec(**content.spec),
      content.fingerprint,
      content.num_channels,
    )
    return cls(codes_BxTxK, mask_BxT, gain_BxS, origin)


class Quantized(NamedTuple):
  """The result of a quantiser.

  Attributes:
    z_BxTxD: quantised latent (straight-through in training).
    codes_BxTxK: int32 codes.
    losses: scalar losses by name (`codebook`, `commitment`, `distill`).
    metrics: arrays by name that are logged, not optimised.
  """

  z_BxTxD: jax.Array
  codes_BxTxK: jax.Array
  losses: dict[str, jax.Array]
  metrics: dict[str, jax.Array]


Batch = dict[str, Any]
Metrics = dict[str, jax.Array]


class Task(Protocol):
  """A model with its losses and optimisers; `train.step` knows three methods more."""

  def init(self, rng: jax.Array, batch: Batch) -> Any:
    """Returns the train state, a pytree with an int32 scalar `.step`. Jittable."""

  def start_from(self, state: Any, variables: Any) -> Any:
    """Puts variables, as `inference_variables` gives them, into a state. Jittable."""

  def train_step(self, state: Any, batch: Batch) -> tuple[Any, Metrics]:
    """Updates the state. Jittable; metrics are scalars or one value a codebook."""

  def eval_step(self, state: Any, batch: Batch) -> Metrics:
    """Measures means over a batch; their entry `weight` says how much they count."""

  def inference_variables(self, state: Any) -> Any:
    """Returns the variables to export: averaged weights where there are any."""


class SpeechLanguageModel(Protocol):
  """A model of a codec's tokens: all that its training and its API know. Hashable.

  One with `with_codebooks` can begin with the codec's codebooks (`slm.codebook_start`),
  one with `generate_blocks` can be heard while it speaks (as `slm.delay.Delay`).

  What it reads besides codes, its condition, is a text (text_BxS, text_mask_BxS) or
  semantic tokens (semantic_BxT).

  Attributes:
    spec: of the codec.
  """

  spec: TokenSpec

  def init_params(self, rng: jax.Array, batch: Batch) -> Any:
    """Fresh parameters; of the batch only the shapes matter. Jittable."""

  def loss(
    self, params: Any, rng: jax.Array, batch: Batch
  ) -> tuple[jax.Array, Metrics]:
    """The training loss, nats, and what to log. Jittable."""

  def evaluate(self, params: Any, batch: Batch) -> Metrics:
    """Held-out metrics, the same whenever they are computed. Jittable.

    Returns:
      At least loss and weight (how much the batch counts), scalars, and
      ce_per_codebook and accuracy_per_codebook, (K,).
    """

  def generate(
    self,
    params: Any,
    rng: jax.Array,
    condition: jax.Array,
    mask: jax.Array,
    *,
    prompt: Tokens | None,
    sampler: Any,
  ) -> Any:
    """Codes for a condition.

    A model of texts is also given `prompt_symbols_B`, int32: how many of a row's
    symbols are the prompt's text.

    Args:
      params: of this model.
      rng: a key for each row, (B,).
      condition: text_BxS, or semantic_BxT, of the prompt and of what is to be said.
      mask: bool, its valid entries.
      prompt: codes of the first frames, of each row as many as its mask tells.
      sampler: of the class that the model's `LanguageModel` names.

    Returns:
      For semantic tokens the `Tokens` of all frames, the prompt's first; for texts
      those behind the prompt, as `slm.autoregressive.Generated`.
    """
