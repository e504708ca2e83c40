"""A single autoregressive model over all codebooks, in the delay pattern."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.nn.ops import first_argmax
from jaxcodec.nn.products import einsum_float32
from jaxcodec.slm import (
  delay_generate,
  delay_model,
  masking,
  positions,
  sampling,
  text_guidance,
  wrong_condition,
)
from jaxcodec.slm.ar_choice import DelaySampler
from jaxcodec.slm.block_sizes import BlockSizes
from jaxcodec.slm.body import make_transformer
from jaxcodec.slm.codebook_start import CodeRows
from jaxcodec.slm.delay_model import DelayModel
from jaxcodec.slm.incremental import Generated
from jaxcodec.types import Batch, Metrics, Tokens, TokenSpec

# Evaluation draws the same paces whenever it is run.
_EVAL_SEED = 0


@dataclasses.dataclass(frozen=True)
class Delay:
  """Text to codes by one transformer, codebook k a step later than codebook k - 1.

  At frame t, codebook k is drawn knowing codebook j up to frame t + k - j - 1: those
  below it of its own frame, those above it less. Source: MusicGen (arXiv 2306.05284),
  section 2.2. Batches hold codes_BxTxK, mask_BxT, text_BxS and text_mask_BxS.

  Attributes:
    spec: the codec's.
    num_text: number of text symbols.
    width, depth, heads, mlp_width, dropout, dtype, remat: see `nn.attention`.
    label_smoothing: of the training loss.
    positions, position_jitter, symbols_per_second: as of `valle.Valle`.
    level_weights: what the codebooks above 0 count in training: "uniform", or "linear",
      codebook k with weight K - k, as the words hang less on it.
    text_dropout: share of the training rows that are spoken without a text, for
      `ar_choice.DelaySampler.guidance`.
  """

  spec: TokenSpec
  num_text: int
  width: int = 1024
  depth: int = 12
  heads: int = 16
  mlp_width: int | None = None
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: Any = False
  label_smoothing: float = 0.0
  positions: str = "aligned"
  position_jitter: float = 0.08
  symbols_per_second: float = 15.0
  level_weights: str = "uniform"
  text_dropout: float = 0.0

  def __post_init__(self):
    positions.check(self.positions)
    masking.check_weights(self.level_weights)
    if not 0 <= self.text_dropout < 1:
      raise ValueError(f"text_dropout must be in [0, 1), got {self.text_dropout}")
    if self.position_jitter < 0:
      raise ValueError(f"position_jitter must be 0 or more, got {self.position_jitter}")

  @property
  def model(self) -> DelayModel:
    """The transformer."""
    spec, body = self.spec, make_transformer(self, num_levels=1)
    sizes = spec.num_codebooks, spec.codebook_size, self.num_text, self.width
    return DelayModel(*sizes, body, self.positions)

  @property
  def symbols_per_frame(self) -> float:
    """The pace of speech without a prompt."""
    return self.symbols_per_second / self.spec.frame_rate

  def check_sampler(self, sampler: DelaySampler) -> None:
    """Raises ValueError if this model can't be sampled so."""
    if sampler.guidance != 1 and not self.text_dropout:
      raise ValueError(
        "guidance must be 1 for a model that hasn't learnt to speak without a text"
        f" (slm.text_dropout is 0), got {sampler.guidance:g}"
      )

  def init_params(self, rng: jax.Array, batch: Batch) -> Any:
    """Fresh parameters; of the batch only the shapes matter."""
    inputs = *self._inputs(batch), positions.own_pace_of(batch)

    def both(model, *inputs):
      return model.logits(model(*inputs))

    return self.model.init(rng, *inputs, method=both)["params"]

  def with_codebooks(self, params: Any, rows: CodeRows) -> Any:
    """Returns the parameters with these rows of codes; see `codebook_start`."""
    embed_KxVxD, head_KxDxV = rows(self.width)
    size = self.spec.codebook_size
    embed = params["code_embed"].at[:, :size].set(embed_KxVxD)
    head = params["head"].at[:, :, :size].set(head_KxDxV)
    return {**params, "code_embed": embed, "head": head}

  def loss(
    self, params: Any, rng: jax.Array, batch: Batch
  ) -> tuple[jax.Array, Metrics]:
    """Returns the cross-entropy, nats, for training: of codebook 0, and of the others.

    Codebook 0 counts as much as all others, as the words are decided there: as one of
    many it learnt to read later.

    Args:
      params: of the model.
      rng: draws paces and dropout.
      batch: see the class; rows of mask_BxT are prefixes.

    Returns:
      The loss, and `loss`, `loss_c0` and `accuracy_c0`.
    """
    pace_rng, dropout_rng = jax.random.split(rng)
    pace_key_B = sampling.row_keys(pace_rng, batch["mask_BxT"].shape[0])
    ce_K, accuracy_K = self._score(params, batch, pace_key_B, dropout_rng)
    loss = _total(ce_K, self.level_weights)
    return loss, {"loss": loss, "loss_c0": ce_K[0], "accuracy_c0": accuracy_K[0]}

  def evaluate(self, params: Any, batch: Batch) -> Metrics:
    """Measures cross-entropy, nats, of each codebook given all that it is drawn from.

    Returns:
      ce_per_codebook, accuracy_per_codebook: (K,); codebook 0's include the ends.
      gain_per_codebook: (K,), by how much another text, at a pace at which it fills
        the same frames, is worse.
      loss: of codebook 0, plus the mean of the others'.
      ce_c0, ce_c0_wrong_text: cross-entropy on codebook 0 given its text, and given
        another.
      weight: number of frames.
    """
    row_keys = jax.vmap(jax.random.fold_in, (None, 0))
    pace_key_B = row_keys(jax.random.key(_EVAL_SEED), batch["index_B"])
    ce_K, accuracy_K = self._score(params, batch, pace_key_B)
    wrong = wrong_condition.with_wrong_text(batch)
    wrong_ce_K, _ = self._score(params, wrong, pace_key_B)
    return {
      "loss": _total(ce_K),
      "ce_per_codebook": ce_K,
      "accuracy_per_codebook": accuracy_K,
      "gain_per_codebook": wrong_ce_K - ce_K,
      "ce_c0": ce_K[0],
      "ce_c0_wrong_text": wrong_ce_K[0],
      "weight": batch["mask_BxT"].sum().astype(jnp.float32),
    }

  def _inputs(self, batch):
    """Returns text and delayed codes with their masks, as the model takes them."""
    codes_BxTxK, mask_BxT = batch["codes_BxTxK"], batch["mask_BxT"]
    delayed = delay_model.delay(codes_BxTxK, mask_BxT, self.spec.codebook_size)
    mask_BxN = delay_model.delayed_mask(mask_BxT, self.spec.num_codebooks)
    # Nothing is scored after the last step.
    steps = delayed[:, :-1], mask_BxN[:, :-1]
    return batch["text_BxS"], batch["text_mask_BxS"], *steps

  def _score(self, params, batch, pace_key_B, dropout_rng=None):
    """Returns each codebook's mean cross-entropy and accuracy, (K,)."""
    error_B = self.position_jitter * jax.vmap(jax.random.normal)(pace_key_B)
    pace = positions.own_pace_of(batch)
    pace = pace._replace(rate_B=pace.rate_B * jnp.exp(error_B))
    train = dropout_rng is not None
    if train and self.text_dropout:
      batch = self._without_some_texts(batch, dropout_rng)
    y_BxNxD = self.model.apply(
      {"params": params},
      *self._inputs(batch),
      pace,
      train=train,
      rngs={"dropout": dropout_rng} if train else {},
    )
    size, mask_BxT = self.spec.codebook_size, batch["mask_BxT"]
    target_BxNxK = delay_model.delay(batch["codes_BxTxK"], mask_BxT, size)
    scored_BxNxK = target_BxNxK != size
    # The end: codebook 0 has no code right after the last frame.
    ends_BxN = jnp.arange(target_BxNxK.shape[1])[None] == mask_BxT.sum(1)[:, None]
    ends_BxN &= mask_BxT.any(1, keepdims=True)
    scored_BxNxK = scored_BxNxK.at[:, :, 0].set(scored_BxNxK[:, :, 0] | ends_BxN)
    smoothing = self.label_smoothing if train else 0.0

    @jax.checkpoint  # the scores of one codebook at a time
    def measure(book):
      head_DxV, target_BxN, scored_BxN = book
      logits_BxNxV = einsum_float32(
        "bnd,dv->bnv", y_BxNxD, head_DxV.astype(y_BxNxD.dtype)
      )
      nll_BxN = masking.cross_entropy(logits_BxNxV, target_BxN, smoothing)
      right_BxN = first_argmax(logits_BxNxV) == target_BxN
      return [masking.mean_over(x, scored_BxN) for x in (nll_BxN, right_BxN)]

    books = params["head"], target_BxNxK.transpose(2, 0, 1)
    return jax.lax.map(measure, (*books, scored_BxNxK.transpose(2, 0, 1)))

  def _without_some_texts(self, batch, rng):
    text = batch["text_BxS"], batch["text_mask_BxS"]
    rng = jax.random.fold_in(rng, 0)
    text_BxS, mask_BxS = text_guidance.drop_texts(rng, self.text_dropout, *text)
    return {**batch, "text_BxS": text_BxS, "text_mask_BxS": mask_BxS}

  def generate(
    self,
    params: Any,
    rng: jax.Array,
    text_BxS: jax.Array,
    text_mask_BxS: jax.Array,
    **options: Any,
  ) -> Generated:
    """Speaks texts; see `delay_generate.generate`."""
    text = text_BxS, text_mask_BxS
    return delay_generate.generate(self, params, rng, *text, **options)

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
    """Speaks texts block after block; see `delay_generate.generate_blocks`."""
    text = text_BxS, text_mask_BxS
    return delay_generate.generate_blocks(
      self, params, rng, *text, sizes=sizes, **options
    )


def _total(ce_K, weights="uniform"):
  if len(ce_K) == 1:
    return ce_K[0]
  if weights == "uniform":
    return ce_K[0] + ce_K[1:].mean()
  return ce_K[0] + jnp.average(ce_K[1:], weights=jnp.arange(len(ce_K) - 1, 0, -1))
