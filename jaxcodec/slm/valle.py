"""VALL-E: codebook 0 frame after frame, then each other codebook in one pass."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.nn.ops import first_argmax
from jaxcodec.slm import (
  autoregressive,
  masking,
  positions,
  sampling,
  valle_blocks,
  wrong_condition,
)
from jaxcodec.slm.ar import ArModel
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.block_sizes import BlockSizes
from jaxcodec.slm.body import make_transformer
from jaxcodec.slm.codebook_start import CodeRows
from jaxcodec.slm.incremental import Generated
from jaxcodec.slm.nar import NarModel
from jaxcodec.types import Batch, Metrics, Tokens, TokenSpec

# Evaluation draws the same error of an utterance's pace whenever it is run.
_EVAL_SEED = 0


@dataclasses.dataclass(frozen=True)
class Valle:
  """VALL-E (arXiv 2301.02111): text to codes.

  An autoregressive half (`ar`) gives codebook 0 and a non-autoregressive half (`nar`)
  the others; the parameters are {"ar": ..., "nar": ...}. Batches hold codes_BxTxK,
  mask_BxT, text_BxS and text_mask_BxS, and where rows go on from a prompt the numbers
  of its spoken symbols and frames, prompt_symbols_B and prompt_frames_B.

  With aligned positions the NAR is given each row's own pace, which is known once the
  row has ended. The AR is given one that is wrong by `position_jitter`, as the pace
  that generation takes from the prompt is.

  Attributes:
    spec: the codec's, of at least two codebooks.
    num_text: number of text symbols.
    width, depth, heads, mlp_width, dropout, dtype, remat: of both halves; see
      `nn.attention`.
    nar_width, nar_depth: the NAR's own, where it is smaller: words hang on codebook 0,
      so that a small model is better spent on the AR. None for the AR's.
    prompt_rate: share of the training rows whose NAR input has an acoustic prompt.
    level_weights: how training draws the NAR's levels, see `masking.draw_levels`.
    nar_draws: how often a row is drawn a level and a prompt for in a step. A small NAR
      that learns twice of a row costs less than twice the steps.
    label_smoothing: of the training loss.
    positions: rotary ones, "aligned", "separate" or "sequence"; see `positions.check`.
    position_jitter: standard deviation of the logarithm of the AR's pace in training.
    symbols_per_second: the pace of speech without a prompt.

  Raises:
    ValueError: a codec of a single codebook, or an impossible field.
  """

  spec: TokenSpec
  num_text: int
  width: int = 1024
  depth: int = 12
  heads: int = 16
  mlp_width: int | None = None
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  nar_width: int | None = None
  nar_depth: int | None = None
  prompt_rate: float = 0.85
  level_weights: str = "uniform"
  nar_draws: int = 1
  label_smoothing: float = 0.0
  positions: str = "sequence"
  position_jitter: float = 0.08
  symbols_per_second: float = 15.0

  def __post_init__(self):
    positions.check(self.positions)
    masking.check_weights(self.level_weights)
    if self.position_jitter < 0:
      raise ValueError(f"position_jitter must be 0 or more, got {self.position_jitter}")
    if self.nar_draws < 1:
      raise ValueError(f"nar_draws must be at least 1, got {self.nar_draws}")
    if self.spec.num_codebooks < 2:
      raise ValueError("Valle needs a codec of at least 2 codebooks, this one has 1")

  @property
  def ar(self) -> ArModel:
    """Text to codebook 0."""
    sizes = self.spec.codebook_size, self.num_text, self.width
    return ArModel(*sizes, make_transformer(self, num_levels=1), self.positions)

  @property
  def nar(self) -> NarModel:
    """Text and the codebooks below to each of the others."""
    books = self.spec.num_codebooks
    width, depth = self.nar_width or self.width, self.nar_depth or self.depth
    sizes = books, self.spec.codebook_size, self.num_text, width
    shape = dataclasses.replace(self, width=width, depth=depth)
    return NarModel(*sizes, make_transformer(shape, books - 1), self.positions)

  @property
  def symbols_per_frame(self) -> float:
    """The pace of speech without a prompt."""
    return self.symbols_per_second / self.spec.frame_rate

  def init_params(self, rng: jax.Array, batch: Batch) -> Any:
    """Fresh parameters; of the batch only the shapes matter."""
    ar_rng, nar_rng = jax.random.split(rng)
    text, codes_BxTxK, mask_BxT = _parts(batch)
    level_B, pace = (
      jnp.ones(mask_BxT.shape[:1], jnp.int32),
      positions.own_pace_of(batch),
    )
    ar = self.ar.init(ar_rng, *text, codes_BxTxK[:, :, 0], mask_BxT, pace)
    nar = self.nar.init(nar_rng, *text, codes_BxTxK, mask_BxT, level_B, pace)
    return {"ar": ar["params"], "nar": nar["params"]}

  def with_codebooks(self, params: Any, rows: CodeRows) -> Any:
    """Returns the parameters with these rows of codes; see `codebook_start`."""
    size, ar, nar = self.spec.codebook_size, params["ar"], params["nar"]
    embed_KxVxD, head_KxDxV = rows(self.width)
    embed = ar["code_embed"]["embedding"].at[:size].set(embed_KxVxD[0])
    head = ar["head"].at[:, :size].set(head_KxDxV[0])
    embed_KxVxD, head_KxDxV = rows(self.nar.width)
    levels = nar["code_embed"].at[:, :size].set(embed_KxVxD)
    return {
      "ar": {**ar, "code_embed": {"embedding": embed}, "head": head},
      "nar": {**nar, "code_embed": levels, "head": head_KxDxV[1:]},
    }

  def loss(
    self, params: Any, rng: jax.Array, batch: Batch
  ) -> tuple[jax.Array, Metrics]:
    """Returns the sum of both halves' mean cross-entropies, nats, for training.

    The AR's mean is over frames and each row's end; the NAR's over the frames behind
    the prompt, of `nar_draws` levels a row.

    Args:
      params: of both models.
      rng: draws levels, prompts and dropout.
      batch: see the class; rows of mask_BxT are prefixes.

    Returns:
      The loss, and `loss`, `{ar,nar}_loss` and `{ar,nar}_accuracy`.
    """
    rngs = jax.random.split(rng, 5)
    pace_key_B = sampling.row_keys(rngs[4], len(batch["mask_BxT"]))
    ar_loss, ar_accuracy = self._score_ar(params, batch, pace_key_B, rngs[2])
    drawn = jax.tree.map(lambda x: jnp.repeat(x, self.nar_draws, axis=0), batch)
    mask_BxT, others = drawn["mask_BxT"], self.spec.num_codebooks - 1
    weights = self.level_weights
    level_B = 1 + masking.draw_levels(rngs[0], len(mask_BxT), others, weights)
    prompt_BxT = masking.draw_prompts(rngs[1], mask_BxT, self.prompt_rate)
    nar_loss, nar_accuracy = self._score_nar(
      params, drawn, level_B, prompt_BxT, rngs[3]
    )
    loss = ar_loss + nar_loss
    return loss, {
      "loss": loss,
      "ar_loss": ar_loss,
      "nar_loss": nar_loss,
      "ar_accuracy": ar_accuracy,
      "nar_accuracy": nar_accuracy,
    }

  def evaluate(self, params: Any, batch: Batch) -> Metrics:
    """Measures cross-entropy, nats, without prompts, each codebook given those below.

    Returns:
      ce_per_codebook, accuracy_per_codebook: (K,); codebook 0's include the ends.
      gain_per_codebook: (K,), by how much another text, at a pace at which it fills
        the same frames, is worse.
      loss: of codebook 0, plus the mean of the others'.
      ce_c0, ce_c0_wrong_text: cross-entropy on codebook 0 given its text, and given
        another.
      weight: number of frames.
    """
    mask_BxT = batch["mask_BxT"]
    ce_K, accuracy_K = self._evaluate_codebooks(params, batch)
    wrong = wrong_condition.with_wrong_text(batch)
    wrong_ce_K, _ = self._evaluate_codebooks(params, wrong)
    return {
      "loss": ce_K[0] + ce_K[1:].mean(),
      "ce_per_codebook": ce_K,
      "accuracy_per_codebook": accuracy_K,
      "gain_per_codebook": wrong_ce_K - ce_K,
      "ce_c0": ce_K[0],
      "ce_c0_wrong_text": wrong_ce_K[0],
      "weight": mask_BxT.sum().astype(jnp.float32),
    }

  def _evaluate_codebooks(self, params, batch):
    """Returns each codebook's mean cross-entropy and accuracy, (K,)."""
    no_prompt_BxT = jnp.zeros_like(batch["mask_BxT"])
    row_keys = jax.vmap(jax.random.fold_in, (None, 0))
    pace_key_B = row_keys(jax.random.key(_EVAL_SEED), batch["index_B"])

    def measure(level):
      level_B = jnp.full(no_prompt_BxT.shape[:1], level, jnp.int32)
      return jnp.stack(self._score_nar(params, batch, level_B, no_prompt_BxT))

    first_2 = jnp.stack(self._score_ar(params, batch, pace_key_B))
    rest_Kx2 = jax.lax.map(measure, jnp.arange(1, self.spec.num_codebooks))
    return jnp.concatenate([first_2[None], rest_Kx2]).T

  def _score_ar(self, params, batch, pace_key_B, dropout_rng=None):
    """Returns the AR half's mean cross-entropy and accuracy on frames and ends."""
    text, codes_BxTxK, mask_BxT = _parts(batch)
    pace = positions.own_pace_of(batch)
    error_B = self.position_jitter * jax.vmap(jax.random.normal)(pace_key_B)
    pace = pace._replace(rate_B=pace.rate_B * jnp.exp(error_B))
    inputs = *text, codes_BxTxK[:, :, 0], mask_BxT, pace
    logits_BxTxV = _apply(self.ar, params["ar"], inputs, dropout_rng)
    code_BxT = jnp.where(mask_BxT, codes_BxTxK[:, :, 0], self.spec.codebook_size)
    code_BxT = jnp.pad(
      code_BxT, ((0, 0), (0, 1)), constant_values=self.spec.codebook_size
    )
    # Frame t is scored after frame t - 1, the end after the last one.
    scored_BxT = jnp.concatenate([mask_BxT.any(1, keepdims=True), mask_BxT], axis=1)
    return self._means(logits_BxTxV, code_BxT, scored_BxT, dropout_rng)

  def _score_nar(self, params, batch, level_B, prompt_BxT, dropout_rng=None):
    """As `_score_ar` for the NAR half: frames behind the prompt, one level a row."""
    text, codes_BxTxK, mask_BxT = _parts(batch)
    masked = level_B, mask_BxT
    shown = masking.hide(codes_BxTxK, mask_BxT, prompt_BxT, masked, self.spec.mask_id)
    inputs = *text, shown.codes_BxTxK, mask_BxT, level_B, positions.own_pace_of(batch)
    logits_BxTxV = _apply(self.nar, params["nar"], inputs, dropout_rng)
    level_Bx1x1 = level_B[:, None, None]
    code_BxT = jnp.take_along_axis(codes_BxTxK, level_Bx1x1, axis=2)[:, :, 0]
    code_BxT = jnp.where(mask_BxT, code_BxT, 0)
    return self._means(logits_BxTxV, code_BxT, mask_BxT & ~prompt_BxT, dropout_rng)

  def _means(self, logits_BxTxV, code_BxT, scored_BxT, dropout_rng):
    smoothing = 0.0 if dropout_rng is None else self.label_smoothing
    nll_BxT = masking.cross_entropy(logits_BxTxV, code_BxT, smoothing)
    right_BxT = first_argmax(logits_BxTxV) == code_BxT
    return tuple(masking.mean_over(x, scored_BxT) for x in (nll_BxT, right_BxT))

  def generate(
    self,
    params: Any,
    rng: jax.Array,
    text_BxS: jax.Array,
    text_mask_BxS: jax.Array,
    *,
    prompt: Tokens | None = None,
    prompt_symbols_B: jax.Array | None = None,
    sampler: ArSampler | None = None,
  ) -> Generated:
    """Speaks texts; see `autoregressive.generate`."""
    return autoregressive.generate(
      self,
      params,
      rng,
      text_BxS,
      text_mask_BxS,
      prompt=prompt,
      prompt_symbols_B=prompt_symbols_B,
      sampler=sampler,
    )

  def generate_blocks(
    self,
    params: Any,
    rng: jax.Array,
    text_BxS: jax.Array,
    text_mask_BxS: jax.Array,
    *,
    sizes: BlockSizes,
    **options: Any,
  ) -> Iterator[tuple[Tokens, jax.Array]]:
    """Speaks texts block after block; see `valle_blocks.generate`."""
    text = text_BxS, text_mask_BxS
    return valle_blocks.generate(self, params, rng, *text, sizes=sizes, **options)


def _parts(batch):
  text = batch["text_BxS"], batch["text_mask_BxS"]
  return text, batch["codes_BxTxK"], batch["mask_BxT"]


def _apply(model, params, inputs, dropout_rng):
  """Applies a half, with dropout if there is a key for it."""
  rngs = {} if dropout_rng is None else {"dropout": dropout_rng}
  return model.apply(
    {"params": params}, *inputs, train=dropout_rng is not None, rngs=rngs
  )
