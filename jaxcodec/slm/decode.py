"""Generates codes by iterative unmasking, coarse codebooks first, in one call."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.nn.ops import first_argmax
from jaxcodec.slm import masking, sampling
from jaxcodec.slm.options import given_when_run, is_set
from jaxcodec.types import Tokens


@given_when_run(
  temperature=0.0,
  top_p=1.0,
  choice_noise=0.0,
  guidance_condition=0.0,
  guidance_prompt=0.0,
)
@dataclasses.dataclass(frozen=True)
class IterativeSampler:
  """Options of decoding.

  Attributes:
    steps: iterations of the first codebooks; the others take one.
    temperature: of the tokens drawn in codebooks of several iterations; 0 is greedy.
      A codebook of one iteration is always greedy, as in SoundStorm.
    top_k: draw among the k likeliest tokens; 0 for all.
    top_p: draw among the likeliest tokens of this probability; 1 for all.
    choice_noise: Gumbel noise on the log-probability by which tokens are kept, at the
      first iteration; falls linearly to 0 at the last (MaskGIT's 4.5).
    guidance_condition: how far to push away from the logits without semantic tokens.
    guidance_prompt: how far to push away from the logits without the prompt.
  """

  steps: tuple[int, ...] = (16,)
  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  choice_noise: float = 4.5
  guidance_condition: float = 0.0
  guidance_prompt: float = 0.0

  def __post_init__(self):
    object.__setattr__(self, "steps", tuple(self.steps))
    sampling.check_fields(
      self,
      ("steps", min(self.steps, default=1) < 1, "positive"),
      ("choice_noise", self.choice_noise < 0, "0 or more"),
      ("guidance_condition", self.guidance_condition < 0, "0 or more"),
      ("guidance_prompt", self.guidance_prompt < 0, "0 or more"),
    )


def schedule(sampler: IterativeSampler, num_codebooks: int) -> dict[str, np.ndarray]:
  """Plans the decoding, as arrays with one entry a step.

  Returns:
    level: the codebook.
    masked: share of its frames that stay masked after the step.
    drawn: 1 where tokens are drawn, 0 where the likeliest is taken.
    left: share of the codebook's steps that come after it.

  Raises:
    ValueError: the sampler gives steps for more codebooks than there are.
  """
  given = len(sampler.steps)
  if given > num_codebooks:
    raise ValueError(f"sampler.steps has {given} entries for {num_codebooks} codebooks")
  steps_K = sampler.steps + (1,) * (num_codebooks - given)
  level = np.repeat(np.arange(num_codebooks), steps_K)
  progress = np.concatenate([np.arange(1, n + 1) / n for n in steps_K])
  several = np.repeat(np.array(steps_K) > 1, steps_K)
  return {
    "level": level.astype(np.int32),
    # The cosine of exactly pi / 2 is not quite 0.
    "masked": np.where(progress < 1, np.cos(np.pi / 2 * progress), 0).astype("f4"),
    "drawn": (several & is_set(sampler.temperature, 0)).astype(np.float32),
    "left": (1 - progress).astype(np.float32),
  }


def iterative(
  model: Any,
  params: Any,
  rng: jax.Array,
  semantic_BxT: jax.Array,
  mask_BxT: jax.Array,
  *,
  prompt: Tokens | None = None,
  sampler: IterativeSampler | None = None,
) -> Tokens:
  """Generates the codes of utterances whose semantic tokens are given.

  A row's masking and noise depend on its own length and key alone, so neither padding
  nor the other rows change its valid frames.

  Args:
    model: a `MaskGit`.
    params: its parameters.
    rng: a key, or keys_B to reproduce rows in other batches (row b of a single key
      has `fold_in(rng, b)`).
    semantic_BxT: int32 semantic tokens of the prompt and, after it, of the rest.
    mask_BxT: its valid frames, a prefix of each row.
    prompt: codes of the first frames of each row, at most T of them; its mask tells
      each row's own number.
    sampler: how to decode.

  Returns:
    Codes of all T frames, the prompt's first and unchanged, 0 on invalid frames.

  Raises:
    ValueError: the prompt does not fit the semantic tokens or the codec.
  """
  shape = mask_BxT.shape + (model.spec.num_codebooks,)
  prompt_BxTxK = jnp.full(shape, model.spec.mask_id, jnp.int32)
  prompt_BxT = jnp.zeros(mask_BxT.shape, bool)
  if prompt is not None:
    rows, frames, books = prompt.codes_BxTxK.shape
    if (rows, books) != (shape[0], shape[2]) or frames > shape[1]:
      raise ValueError(
        f"prompt codes must be (B, T, K) = ({shape[0]}, at most {shape[1]}, "
        f"{shape[2]}), got {(rows, frames, books)}"
      )
    prompt_BxTxK = prompt_BxTxK.at[:, :frames].set(prompt.codes_BxTxK)
    prompt_BxT = prompt_BxT.at[:, :frames].set(prompt.mask_BxT)
  key_B = rng if rng.shape else sampling.row_keys(rng, shape[0])
  codes_BxTxK = _decode(
    model,
    sampler or IterativeSampler(),
    params,
    key_B,
    (semantic_BxT, mask_BxT, prompt_BxTxK, prompt_BxT & mask_BxT),
  )
  return Tokens(codes_BxTxK, mask_BxT)


@functools.partial(jax.jit, static_argnums=0)
def _decode(model, sampler, params, key_B, inputs):
  semantic_BxT, mask_BxT, prompt_BxTxK, prompt_BxT = inputs
  mask_id = model.spec.mask_id
  open_BxT = mask_BxT & ~prompt_BxT
  size_B = open_BxT.sum(1)
  key_BxT = sampling.frame_keys(key_B, mask_BxT.shape[1])

  def step(codes_BxTxK, now):
    index, plan = now
    level = plan["level"]
    logits_BxTxV = _guided_logits(
      model, sampler, params, (codes_BxTxK, semantic_BxT, mask_BxT, prompt_BxT), level
    )
    token_BxT, score_BxT = _choose(logits_BxTxV, _fold(key_BxT, index), sampler, plan)
    known_BxT = jax.lax.dynamic_index_in_dim(codes_BxTxK, level, 2, keepdims=False)
    unknown_BxT = (known_BxT == mask_id) & open_BxT
    left_B = jnp.floor(plan["masked"] * size_B).astype(jnp.int32)
    again_BxT = masking.mark_lowest(jnp.where(unknown_BxT, score_BxT, jnp.inf), left_B)
    filled_BxT = jnp.where(unknown_BxT & ~again_BxT, token_BxT, known_BxT)
    return jax.lax.dynamic_update_index_in_dim(codes_BxTxK, filled_BxT, level, 2), None

  start_BxTxK = jnp.where(prompt_BxT[:, :, None], prompt_BxTxK, mask_id)
  plan = schedule(sampler, model.spec.num_codebooks)
  steps = jnp.arange(len(plan["level"])), jax.tree.map(jnp.asarray, plan)
  codes_BxTxK, _ = jax.lax.scan(step, start_BxTxK, steps)
  return jnp.where(mask_BxT[:, :, None], codes_BxTxK, 0)


def _fold(key_BxT, index):
  over_frames = jax.vmap(jax.random.fold_in, (0, None))
  return jax.vmap(over_frames, (0, None))(key_BxT, index)


def _choose(logits_BxTxV, key_BxT, sampler, plan):
  """Draws a token for every frame; also returns how sure the model is, with noise."""
  size = logits_BxTxV.shape[2]
  noise_BxTxV = sampling.gumbel(key_BxT, size + 1)
  allowed = sampling.filter_logits(
    logits_BxTxV,
    temperature=sampler.temperature,
    top_k=sampler.top_k,
    top_p=sampler.top_p,
  )
  token_BxT = first_argmax(allowed + plan["drawn"] * noise_BxTxV[:, :, :size])
  log_p_BxT = -masking.cross_entropy(logits_BxTxV, token_BxT)
  scale = sampler.choice_noise * plan["left"]
  return token_BxT, log_p_BxT + scale * noise_BxTxV[:, :, size]


def _guided_logits(model, sampler, params, inputs, level):
  """Returns logits, pushed away from those without the condition or the prompt.

  Source: classifier-free guidance (arXiv 2207.12598), with one scale for each. The
  branch without the prompt does not see its frames at all, as in training.
  """
  codes_BxTxK, semantic_BxT, mask_BxT, prompt_BxT = inputs
  no_semantic_BxT = jnp.full_like(semantic_BxT, model.no_semantic)
  branches = [(codes_BxTxK, semantic_BxT, mask_BxT)]
  scales = []
  if is_set(sampler.guidance_condition, 0):
    branches.append((codes_BxTxK, no_semantic_BxT, mask_BxT))
    scales.append(sampler.guidance_condition)
  if is_set(sampler.guidance_prompt, 0):
    branches.append((codes_BxTxK, semantic_BxT, mask_BxT & ~prompt_BxT))
    scales.append(sampler.guidance_prompt)
  stacked = [jnp.concatenate(parts) for parts in zip(*branches, strict=True)]
  level_B = jnp.full(stacked[0].shape[:1], level, jnp.int32)
  logits = model.apply({"params": params}, *stacked, level_B)
  given, *lacking = jnp.split(logits, len(branches))
  return given + sum(
    scale * (given - without) for scale, without in zip(scales, lacking, strict=True)
  )
