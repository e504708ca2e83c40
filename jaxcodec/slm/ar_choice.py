"""How an autoregressive model's next token is drawn, or its end."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxcodec.slm import sampling
from jaxcodec.slm.options import given_when_run, is_set

_NUMBERS = {
  "temperature": 0.0,
  "top_p": 1.0,
  "repetition_penalty": 1.0,
  "repetition_limit": 1.0,
  "nar_temperature": 0.0,
}


@given_when_run(**_NUMBERS)
@dataclasses.dataclass(frozen=True)
class ArSampler:
  """Options of drawing.

  Attributes:
    max_frames: a row that has not ended by then is cut; memory is kept for so many.
    min_frames: no row ends before so many.
    temperature: of codebook 0; 0 is greedy.
    top_k: draw among the k likeliest tokens; 0 for all.
    top_p: draw among the likeliest tokens of this probability; 1 for all.
    repetition_penalty: the logits of tokens among the last `repetition_window` ones
      are divided by it where they are positive, else multiplied (CTRL, arXiv
      1909.05858, section 4.1); 1 for none.
    repetition_limit: a token that fills more than this share of the window is drawn
      again, from all tokens; 1 for never. VALL-E 2 (arXiv 2406.05370, section 3.3.1)
      has 0.1.
    repetition_window: in generated frames.
    nar_temperature: of the other codebooks, with the same top-k and top-p; 0 is greedy.
    nar_choice: how VALL-E's other codebooks are chosen: "draw", or "mean" for the code
      that is nearest to the mean of all, weighted by their probabilities at
      `nar_temperature`. Where many codes that sound alike share the probability, the
      likeliest one can be far from most of it.
  """

  max_frames: int = 1500
  min_frames: int = 0
  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  repetition_penalty: float = 1.0
  repetition_limit: float = 1.0
  repetition_window: int = 10
  nar_temperature: float = 0.0
  nar_choice: str = "draw"

  def __post_init__(self):
    sampling.check_fields(
      self,
      ("max_frames", self.max_frames < 1, "positive"),
      ("min_frames", not 0 <= self.min_frames <= self.max_frames, "in 0..max_frames"),
      ("repetition_penalty", self.repetition_penalty < 1, "1 or more"),
      ("repetition_limit", not 0 < self.repetition_limit <= 1, "in (0, 1]"),
      (
        "repetition_limit",
        self.repetition_limit < 1 and not self.temperature,
        "1 (never) where the temperature is 0",
      ),
      ("repetition_window", self.repetition_window < 1, "positive"),
      ("nar_temperature", self.nar_temperature < 0, "0 or more"),
      ("nar_choice", self.nar_choice not in ("draw", "mean"), "'draw' or 'mean'"),
      (
        "nar_temperature",
        self.nar_choice == "mean" and not self.nar_temperature,
        "positive where nar_choice is 'mean'",
      ),
    )


@given_when_run(**_NUMBERS, guidance=1.0)
@dataclasses.dataclass(frozen=True)
class DelaySampler(ArSampler):
  """Options of the delay pattern, in which a code hangs on those that were drawn.

  Attributes:
    guidance: how much what the text adds to the scores counts, see `text_guidance`; 1
      for as much as it adds, which takes half the work of another number.
  """

  guidance: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    sampling.check_fields(
      self,
      ("nar_choice", self.nar_choice != "draw", "'draw' in the delay pattern"),
      ("guidance", self.guidance < 1, "1 (none) or more"),
    )


def choose(
  logits_BxV: jax.Array,
  recent_BxW: jax.Array,
  key_B: jax.Array,
  step: jax.Array,
  sampler: ArSampler,
) -> jax.Array:
  """Draws the next token of each row, (B,) int32.

  Args:
    logits_BxV: scores; the last class ends the row.
    recent_BxW: the tokens before, oldest first; -1 where there was none.
    key_B: a key a row, the same at each step.
    step: number of tokens before.
    sampler: how to draw.
  """
  size = logits_BxV.shape[1]
  at_1xV = jnp.arange(size)[None]
  too_early = (at_1xV == size - 1) & (step < sampler.min_frames)
  logits_BxV = jnp.where(too_early, -jnp.inf, logits_BxV)
  count_BxV = (recent_BxW[:, :, None] == at_1xV[:, None]).sum(1)
  if is_set(sampler.repetition_penalty, 1):
    weaker_BxV = jnp.where(
      logits_BxV > 0,
      logits_BxV / sampler.repetition_penalty,
      logits_BxV * sampler.repetition_penalty,
    )
    logits_BxV = jnp.where(count_BxV > 0, weaker_BxV, logits_BxV)
  key_B, again_B = sampling.split(jax.vmap(jax.random.fold_in, (0, None))(key_B, step))
  token_B = _draw(logits_BxV, key_B, sampler, sampler.top_k, sampler.top_p)
  if not is_set(sampler.repetition_limit, 1):
    return token_B
  often_B = jnp.take_along_axis(count_BxV, token_B[:, None], axis=1)[:, 0]
  often_B = often_B > sampler.repetition_limit * sampler.repetition_window
  return jnp.where(often_B, _draw(logits_BxV, again_B, sampler, 0, 1.0), token_B)


def _draw(logits_BxV, key_B, sampler, top_k, top_p):
  return sampling.draw(
    logits_BxV[:, None],
    key_B[:, None],
    temperature=sampler.temperature,
    top_k=top_k,
    top_p=top_p,
  )[:, 0]
