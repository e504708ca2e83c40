"""A language model from outside: a frame's codes depend on its semantic token alone."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from jaxcodec.build.conditions import SemanticTokens
from jaxcodec.build.language_models import LANGUAGE_MODELS, LanguageModel
from jaxcodec.build.slm_batches import TokenWindows
from jaxcodec.types import Tokens, TokenSpec


@dataclasses.dataclass(frozen=True)
class Sampler:
  """Settings of sampling; a temperature of 0 takes the likeliest code."""

  temperature: float = 1.0


@dataclasses.dataclass(frozen=True)
class FrameTable:
  """A table of logits for each semantic token; see `types.SpeechLanguageModel`."""

  spec: TokenSpec
  num_semantic: int

  def init_params(self, rng, batch):
    shape = self.num_semantic, self.spec.num_codebooks, self.spec.codebook_size
    return {"table": jnp.zeros(shape)}

  def loss(self, params, rng, batch):
    ce_K, accuracy_K = self._measure(params, batch)
    return ce_K.mean(), {"loss": ce_K.mean(), "accuracy": accuracy_K.mean()}

  def evaluate(self, params, batch):
    ce_K, accuracy_K = self._measure(params, batch)
    return {
      "loss": ce_K.mean(),
      "weight": batch["mask_BxT"].sum().astype(jnp.float32),
      "ce_per_codebook": ce_K,
      "accuracy_per_codebook": accuracy_K,
    }

  def _measure(self, params, batch):
    codes_BxTxK, mask_BxTx1 = batch["codes_BxTxK"], batch["mask_BxT"][..., None]
    logits = params["table"][batch["semantic_BxT"]]
    ce = optax.softmax_cross_entropy_with_integer_labels(logits, codes_BxTxK)
    right = logits.argmax(-1) == codes_BxTxK
    count = jnp.maximum(mask_BxTx1.sum(), 1)
    return tuple((x * mask_BxTx1).sum((0, 1)) / count for x in (ce, right))

  def generate(self, params, rng, semantic_BxT, mask_BxT, *, prompt=None, sampler=None):
    logits = params["table"][semantic_BxT]
    codes_BxTxK = logits.argmax(-1)
    if sampler.temperature:
      draw = lambda key, row: jax.random.categorical(key, row)  # noqa: E731
      codes_BxTxK = jax.vmap(draw)(rng, logits / sampler.temperature)
    if prompt is not None:
      shown = prompt.mask_BxT[..., None]
      codes_BxTxK = jnp.where(shown, prompt.codes_BxTxK, codes_BxTxK)
    return Tokens(codes_BxTxK.astype(jnp.int32), mask_BxT)


LANGUAGE_MODELS.register(
  "frame_table",
  LanguageModel(
    model=FrameTable,
    sampler=Sampler,
    condition=SemanticTokens(),
    batches=TokenWindows,
    progress=("accuracy",),
  ),
)
