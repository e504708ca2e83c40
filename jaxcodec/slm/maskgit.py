"""Masked-parallel speech language model: semantic tokens and a prompt to all codes."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn import attention
from jaxcodec.nn.ops import first_argmax
from jaxcodec.slm import code_embedding, decode, masking, sampling, wrong_condition
from jaxcodec.slm.body import make_transformer
from jaxcodec.slm.codebook_start import CodeRows
from jaxcodec.types import Batch, Metrics, Tokens, TokenSpec

# Evaluation hides the same frames of an utterance whenever and wherever it is run.
_EVAL_SEED = 0


class MaskGit(nn.Module):
  """Bidirectional transformer over frames; one codebook level is predicted at a time.

  Sources: SoundStorm (arXiv 2305.09636) and MaskGCT's second stage (2409.00750); the
  level enters through the norms' gains.

  Attributes:
    spec: the codec's.
    num_semantic: number of semantic tokens.
    width, depth, heads, mlp_width, dropout, dtype, remat: see `nn.attention`.
    level_weights: how training draws levels, see `masking.draw_levels`.
    prompt_rate: share of the training rows that have an acoustic prompt.
    condition_drop: share of the training rows without semantic tokens.
    label_smoothing: of the training loss.
    fully_masked: share of the training rows above codebook 0 that hide all frames.
      Decoding fills such a codebook in one step, which few rows train otherwise.
  """

  spec: TokenSpec
  num_semantic: int
  width: int = 1024
  depth: int = 12
  heads: int = 16
  mlp_width: int | None = None
  dropout: float = 0.1
  dtype: Any = jnp.float32
  remat: bool = False
  level_weights: str = "linear"
  prompt_rate: float = 0.85
  condition_drop: float = 0.1
  label_smoothing: float = 0.0
  fully_masked: float = 0.0

  def __post_init__(self):
    masking.check_weights(self.level_weights)
    super().__post_init__()

  def setup(self):
    books, codes = self.spec.num_codebooks, self.spec.codebook_size
    # Each codebook's table ends with its mask id's row.
    self.code_embed = self.param(
      "code_embed", code_embedding.embed_init, (books, codes + 1, self.width)
    )
    self.semantic_embed = code_embedding.Embed(
      self.num_semantic + 1, self.width, dtype=self.dtype
    )
    self.transformer = make_transformer(self, num_levels=books)
    self.head = self.param("head", code_embedding.head_init, (books, self.width, codes))

  @property
  def no_semantic(self) -> int:
    """The semantic id that stands for a dropped condition."""
    return self.num_semantic

  def __call__(
    self,
    codes_BxTxK: jax.Array,
    semantic_BxT: jax.Array,
    mask_BxT: jax.Array,
    level_B: jax.Array,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of one level a row, (B, T, V) float32.

    Args:
      codes_BxTxK: codes, `spec.mask_id` where hidden.
      semantic_BxT: semantic tokens, `no_semantic` where dropped.
      mask_BxT: valid frames; what the others hold is ignored.
      level_B: the codebook to predict.
      train: whether to drop out.
    """
    codes_BxTxK = jnp.where(mask_BxT[:, :, None], codes_BxTxK, self.spec.mask_id)
    semantic_BxT = jnp.where(mask_BxT, semantic_BxT, self.no_semantic)
    x_BxTxD = self.semantic_embed(semantic_BxT)
    x_BxTxD += code_embedding.embed_sum(self.code_embed, codes_BxTxK, self.dtype)
    visible = attention.bidirectional(mask_BxT)
    x_BxTxD = self.transformer(x_BxTxD, visible, level_B=level_B, train=train)
    return code_embedding.logits(x_BxTxD, self.head, level_B)

  @nn.nowrap
  def init_params(self, rng: jax.Array, batch: Batch) -> Any:
    """Fresh parameters; of the batch only the shapes matter."""
    level_B = jnp.zeros(batch["mask_BxT"].shape[:1], jnp.int32)
    inputs = batch["codes_BxTxK"], batch["semantic_BxT"], batch["mask_BxT"], level_B
    return self.init(rng, *inputs)["params"]

  @nn.nowrap
  def with_codebooks(self, params: Any, rows: CodeRows) -> Any:
    """Returns the parameters with these rows of codes; see `codebook_start`."""
    embed_KxVxD, head_KxDxV = rows(self.width)
    embed = params["code_embed"].at[:, : self.spec.codebook_size].set(embed_KxVxD)
    return {**params, "code_embed": embed, "head": head_KxDxV}

  @nn.nowrap
  def loss(
    self, params: Any, rng: jax.Array, batch: Batch
  ) -> tuple[jax.Array, Metrics]:
    """Returns the mean cross-entropy, nats, over masked frames of one level a row.

    Args:
      params: of this model.
      rng: draws levels, prompts, masks, dropped conditions and dropout.
      batch: codes_BxTxK, semantic_BxT and mask_BxT, whose rows are prefixes.

    Returns:
      The loss, and `loss` and `accuracy` over the same frames.
    """
    rngs = jax.random.split(rng, 6)
    mask_BxT = batch["mask_BxT"]
    rows = mask_BxT.shape[0]
    level_B = masking.draw_levels(
      rngs[0], rows, self.spec.num_codebooks, self.level_weights
    )
    prompt_BxT = masking.draw_prompts(rngs[1], mask_BxT, self.prompt_rate)
    all_B = jax.random.bernoulli(rngs[5], self.fully_masked, (rows,)) & (level_B > 0)
    target_BxT = masking.draw_targets(
      sampling.row_keys(rngs[2], rows), mask_BxT & ~prompt_BxT, all_B
    )
    drop_B = jax.random.bernoulli(rngs[3], self.condition_drop, (rows,))
    semantic_BxT = jnp.where(drop_B[:, None], self.no_semantic, batch["semantic_BxT"])
    nll_BxT, right_BxT = self._predict(
      params,
      batch | {"semantic_BxT": semantic_BxT},
      prompt_BxT,
      (level_B, target_BxT),
      dropout_rng=rngs[4],
    )
    loss = masking.mean_over(nll_BxT, target_BxT)
    accuracy = masking.mean_over(right_BxT, target_BxT)
    return loss, {"loss": loss, "accuracy": accuracy}

  @nn.nowrap
  def evaluate(self, params: Any, batch: Batch) -> Metrics:
    """Measures cross-entropy, nats, without a prompt, on frames that `index_B` fixes.

    Returns:
      ce_per_codebook, accuracy_per_codebook: (K,), each level predicted in its turn.
      gain_per_codebook: (K,), by how much another row's semantic tokens are worse.
      loss: mean of ce_per_codebook.
      ce_c0, ce_c0_wrong_semantic: cross-entropy on codebook 0 given its semantic
        tokens, and given another row's.
      weight: number of frames that were predicted.
    """
    mask_BxT = batch["mask_BxT"]
    key_B = jax.vmap(jax.random.fold_in, (None, 0))(
      jax.random.key(_EVAL_SEED), batch["index_B"]
    )
    target_BxT = masking.draw_targets(key_B, mask_BxT)
    no_prompt_BxT = jnp.zeros_like(mask_BxT)

    def measure(given):
      def measure_level(level):
        level_B = jnp.full(mask_BxT.shape[:1], level, jnp.int32)
        scores = self._predict(params, given, no_prompt_BxT, (level_B, target_BxT))
        return [masking.mean_over(score, target_BxT) for score in scores]

      return jax.lax.map(measure_level, jnp.arange(self.spec.num_codebooks))

    other_BxT = wrong_condition.borrow_semantic(batch["semantic_BxT"], mask_BxT)
    ce_K, accuracy_K = measure(batch)
    wrong_ce_K, _ = measure(batch | {"semantic_BxT": other_BxT})
    return {
      "loss": ce_K.mean(),
      "ce_per_codebook": ce_K,
      "accuracy_per_codebook": accuracy_K,
      "gain_per_codebook": wrong_ce_K - ce_K,
      "ce_c0": ce_K[0],
      "ce_c0_wrong_semantic": wrong_ce_K[0],
      "weight": target_BxT.sum().astype(jnp.float32),
    }

  @nn.nowrap
  def _predict(self, params, batch, prompt_BxT, masked, dropout_rng=None):
    """Returns each frame's loss and whether it is right, both (B, T).

    `masked` is (level_B, target_BxT), as for `masking.hide`.
    """
    codes_BxTxK, mask_BxT = batch["codes_BxTxK"], batch["mask_BxT"]
    train = dropout_rng is not None
    shown = masking.hide(codes_BxTxK, mask_BxT, prompt_BxT, masked, self.spec.mask_id)
    logits_BxTxV = self.apply(
      {"params": params},
      shown.codes_BxTxK,
      batch["semantic_BxT"],
      mask_BxT,
      shown.level_B,
      train=train,
      rngs={"dropout": dropout_rng} if train else {},
    )
    level_Bx1x1 = shown.level_B[:, None, None]
    code_BxT = jnp.take_along_axis(codes_BxTxK, level_Bx1x1, axis=2)[:, :, 0]
    code_BxT = jnp.where(mask_BxT, code_BxT, 0)
    smoothing = self.label_smoothing if train else 0.0
    nll_BxT = masking.cross_entropy(logits_BxTxV, code_BxT, smoothing)
    return nll_BxT, first_argmax(logits_BxTxV) == code_BxT

  @nn.nowrap
  def generate(
    self,
    params: Any,
    rng: jax.Array,
    semantic_BxT: jax.Array,
    mask_BxT: jax.Array,
    *,
    prompt: Tokens | None = None,
    sampler: decode.IterativeSampler | None = None,
  ) -> Tokens:
    """Generates in one jitted call; see `decode.iterative`."""
    return decode.iterative(
      self, params, rng, semantic_BxT, mask_BxT, prompt=prompt, sampler=sampler
    )
