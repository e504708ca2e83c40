"""What the masked-parallel model sees and is asked for: levels, masks and prompts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.slm import sampling

# A prompt takes at most this share of an utterance.
_MAX_PROMPT = 0.5


class Masked(NamedTuple):
  """A training example.

  Attributes:
    codes_BxTxK: int32 input, hidden codes replaced by the mask id.
    level_B: int32, the codebook to predict.
    target_BxT: bool, the frames to predict it on.
  """

  codes_BxTxK: jax.Array
  level_B: jax.Array
  target_BxT: jax.Array


def cosine_schedule(progress: jax.Array) -> jax.Array:
  """Returns the share of frames that is still masked at `progress` (0 to 1).

  MaskGCT's sin(pi t / 2) is the same with t = 1 - progress, so a uniform progress gives
  both the same distribution. Source: MaskGIT (arXiv 2202.04200), section 3.3.
  """
  return jnp.cos(0.5 * jnp.pi * progress)


def mark_lowest(score_BxT: jax.Array, count_B: jax.Array) -> jax.Array:
  """Marks the `count_B` lowest scores of each row, bool; of ties the first frames."""
  rank_BxT = jnp.argsort(jnp.argsort(score_BxT, axis=1, stable=True), axis=1)
  return rank_BxT < count_B[:, None]


def check_weights(weights: str) -> None:
  """Raises ValueError for weights that `draw_levels` doesn't know."""
  if weights not in ("uniform", "linear"):
    raise ValueError(f"level_weights must be 'uniform' or 'linear', got {weights!r}")


def draw_levels(rng: jax.Array, rows: int, num_codebooks: int, weights: str):
  """Draws the codebook to train on for each row, (B,) int32.

  Args:
    rng: key.
    rows: B.
    num_codebooks: K.
    weights: `uniform` (SoundStorm, arXiv 2305.09636) or `linear` (MaskGCT, arXiv
      2409.00750: level k with weight K - k, as coarse levels matter more).

  Raises:
    ValueError: unknown weights.
  """
  check_weights(weights)
  weight_K = jnp.ones((num_codebooks,))
  if weights == "linear":
    weight_K = jnp.arange(num_codebooks, 0, -1, dtype=jnp.float32)
  return jax.random.categorical(rng, jnp.log(weight_K), shape=(rows,))


def draw_prompts(rng: jax.Array, mask_BxT: jax.Array, rate: float) -> jax.Array:
  """Draws acoustic prompts, (B, T) bool: a prefix of random length, or none.

  A row has a prompt with probability `rate`. The rows without one teach the model what
  guidance by the prompt compares with (classifier-free guidance).
  """
  with_rng, size_rng = jax.random.split(rng)
  rows, frames = mask_BxT.shape
  part_B = jax.random.uniform(size_rng, (rows,)) * _MAX_PROMPT
  part_B = part_B * jax.random.bernoulli(with_rng, rate, (rows,))
  prompt_B = jnp.floor(part_B * mask_BxT.sum(1)).astype(jnp.int32)
  return (jnp.arange(frames)[None] < prompt_B[:, None]) & mask_BxT


def draw_targets(
  key_B: jax.Array, open_BxT: jax.Array, all_B: jax.Array | None = None
) -> jax.Array:
  """Draws frames to mask and predict, (B, T) bool: a cosine schedule at a random time.

  Of a row's n open frames it marks exactly ceil(cos(pi u / 2) n), so at least one; all
  of the rows in `all_B`.
  """
  time_key_B, frame_key_B = sampling.split(key_B)
  progress_B = jax.vmap(jax.random.uniform)(time_key_B)
  if all_B is not None:
    progress_B = jnp.where(all_B, 0, progress_B)
  size_B = open_BxT.sum(1)
  count_B = jnp.ceil(cosine_schedule(progress_B) * size_B).astype(jnp.int32)
  keys_BxT = sampling.frame_keys(frame_key_B, open_BxT.shape[1])
  noise_BxT = jnp.where(open_BxT, sampling.uniform(keys_BxT), jnp.inf)
  return mark_lowest(noise_BxT, jnp.minimum(count_B, size_B))


def hide(
  codes_BxTxK: jax.Array,
  mask_BxT: jax.Array,
  prompt_BxT: jax.Array,
  masked: tuple[jax.Array, jax.Array],
  mask_id: int,
) -> Masked:
  """Hides all codes but the levels below `level_B`, its unmasked frames and the prompt.

  Args:
    codes_BxTxK: true codes.
    mask_BxT: valid frames.
    prompt_BxT: frames that show all levels.
    masked: `(level_B, target_BxT)`.
    mask_id: what replaces a hidden code, and any code of an invalid frame.
  """
  level_B, target_BxT = masked
  level_Bx1x1 = level_B[:, None, None]
  at_1x1xK = jnp.arange(codes_BxTxK.shape[2])[None, None]
  at_level = (at_1x1xK == level_Bx1x1) & ~target_BxT[:, :, None]
  shown = (at_1x1xK < level_Bx1x1) | at_level | prompt_BxT[:, :, None]
  shown = shown & mask_BxT[:, :, None]
  return Masked(jnp.where(shown, codes_BxTxK, mask_id), level_B, target_BxT)


def cross_entropy(
  logits_BxTxV: jax.Array, code_BxT: jax.Array, smoothing: float = 0.0
) -> jax.Array:
  """Returns the negative log-likelihood of each frame, nats, (B, T) float32.

  Args:
    logits_BxTxV: scores.
    code_BxT: true codes, in [0, V).
    smoothing: share of the target that is spread evenly over all V codes.
  """
  log_p_BxTxV = jax.nn.log_softmax(logits_BxTxV.astype(jnp.float32))
  nll = -jnp.take_along_axis(log_p_BxTxV, code_BxT[:, :, None], axis=2)[:, :, 0]
  if not smoothing:
    return nll
  return (1 - smoothing) * nll - smoothing * log_p_BxTxV.mean(-1)


def mean_over(x_BxT: jax.Array, chosen_BxT: jax.Array) -> jax.Array:
  """Returns the mean over the chosen frames, 0 if none; the others may be infinite."""
  total = jnp.where(chosen_BxT, x_BxT, 0).astype(jnp.float32).sum()
  return total / jnp.maximum(chosen_BxT.sum(), 1)
