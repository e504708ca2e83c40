"""Adversarial codec training: a step updates the discriminators, then the codec."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxcodec import losses
from jaxcodec.nn import partition
from jaxcodec.tasks import codec_books, codec_loss, codec_run, held_out_crops
from jaxcodec.tasks.accumulation import mean_over_parts
from jaxcodec.tasks.codec_state import CodecState
from jaxcodec.types import Batch, Metrics


class _Generated(NamedTuple):
  """The codec's output and the quantiser's losses, with the pullback from both."""

  fake_BxN: jax.Array
  vq: dict[str, jax.Array]
  pullback: Callable[[Any], Any]
  metrics: Metrics
  collections: Any


@dataclasses.dataclass(frozen=True)
class CodecGanTask:
  """Trains a codec against discriminators, as DAC, EnCodec or Vocos does.

  A step updates the discriminators on the codec's output first, then the codec against
  the updated discriminators.

  Attributes:
    codec: maps (B, N, 1) to its reconstruction and a `Quantized`.
    discriminator: maps (B, N) to feature maps; has `loss_weights`.
    opt, disc_opt: the two optimisers, schedules included.
    weights: of the terms of the codec's loss, named as in LOSSES. The terms `codebook`,
      `commitment` and `distill` exist only if the quantiser gives them, `waveform` only
      if it has a weight.
    mel_scales: (n_fft, mel bands) of each scale of the mel loss.
    adversarial_start: step from which the discriminators take part; infinity if they
      never do. A step that has to find out which side of it it is on has a condition,
      those of `phases` have none.
    ema_decay: of the moving averages of weights and codebooks, which are what is
      evaluated and exported; it rises from the start as (1 + t) / (10 + t).
    mel_loss, adversarial_loss, feature_matching: keys of `losses.MEL`,
      `losses.ADVERSARIAL` and `losses.FEATURE_MATCHING`.
    balancer: of the terms that depend on the codec's output, whose weights are then
      shares of its gradient.
    accumulate: parts that a batch is computed in, one after another; see
      `accumulation`.
    freeze: parts of the codec, "encoder" or "quantizer" or both, that keep their bits.
      With both, the codec's tokens stay what they are, and the rest learns to speak
      them.
    semantic: features of audio that the quantiser is taught; see `SemanticRVQ`. The
      compiled step has their weights, if they have any, as constants.
    crop_samples: length of the crops that held-out rows are also cut into; None where
      the rows are as long.
  """

  LOSSES: ClassVar = ("mel", "adversarial", "feature", "codebook", "commitment")
  OPTIONAL_LOSSES: ClassVar = ("waveform", "distill")

  codec: nn.Module
  discriminator: nn.Module
  opt: optax.GradientTransformation
  disc_opt: optax.GradientTransformation
  weights: Mapping[str, float]
  mel_scales: tuple[tuple[int, int], ...] = losses.DAC_MELS
  adversarial_start: float = 0
  ema_decay: float = 0.999
  mel_loss: str = "dac"
  adversarial_loss: str = "lsgan"
  feature_matching: str = "dac"
  balancer: losses.Balancer | None = None
  accumulate: int = 1
  freeze: tuple[str, ...] = ()
  semantic: Callable[[jax.Array, jax.Array], jax.Array] | None = None
  crop_samples: int | None = None

  def init(self, rng: jax.Array, batch: Batch) -> CodecState:
    """Makes a fresh state; of the batch only the shape of audio_BxN matters."""
    codec_rng, disc_rng, state_rng = jax.random.split(rng, 3)
    audio_BxN = batch["audio_BxN"]
    variables = self.codec.init(codec_rng, audio_BxN[..., None])
    disc_params = self.discriminator.init(disc_rng, audio_BxN)["params"]
    return CodecState.fresh(
      state_rng,
      variables,
      self.opt,
      self.freeze,
      disc_params=disc_params,
      disc_opt=self.disc_opt.init(disc_params),
      balance=self.balancer.init(self._output_terms) if self.balancer else {},
    )

  def start_from(self, state: CodecState, variables: dict[str, Any]) -> CodecState:
    """Puts variables of a codec, or of some parts, into a fresh state."""
    return state.start_from(variables)

  def begin(self, state: CodecState, batch: Batch) -> CodecState:
    """Starts the codebooks that wait for data; see `codec_books.begin`."""
    parts = dict(accumulate=self.accumulate, freeze=self.freeze)
    return codec_books.begin(self.codec, state, batch["audio_BxN"], **parts)

  def summarize(self, rows: Metrics) -> Metrics:
    """Returns the metrics of a step's codes; see `train.step.summarize`."""
    return codec_books.summarize(self.codec, rows)

  def phases(self) -> dict[int, "CodecGanTask"]:
    """Returns, by the first update of each, the tasks whose steps have no condition."""
    playing = dataclasses.replace(self, adversarial_start=0)
    waiting = dataclasses.replace(self, adversarial_start=math.inf)
    return {0: waiting, self.adversarial_start: playing}

  def train_step(self, state: CodecState, batch: Batch) -> tuple[CodecState, Metrics]:
    """Updates the discriminators, then the codec."""
    rng = jax.random.fold_in(state.rng, state.step)
    compute = self._compute_whole if self.accumulate == 1 else self._compute_parts
    (state, metrics_d), (kept, grads, metrics) = compute(
      state, {"audio_BxN": batch["audio_BxN"]}, rng
    )
    collections = kept.pop("collections")
    state = state.apply_gradients(grads, collections, self.opt, self.ema_decay)
    state = state.replace(**kept)
    grad_norm = {"grad_norm": optax.tree.norm(grads)}
    return state, {**metrics_d, **metrics, **grad_norm}

  def _compute_whole(self, state, batch, rng):
    """Computes both updates on the whole batch.

    Returns:
      (the state with new discriminators, their metrics), and what `_codec_grads` gives.
    """
    generated = self._generate(state, state.collections, batch, rng)
    real_BxN, fake_BxN = batch["audio_BxN"], generated.fake_BxN

    def disc_grads():
      return self._disc_grads(state, real_BxN, fake_BxN)

    state, metrics_d = self._discriminator_step(state, disc_grads)
    return (state, metrics_d), self._codec_grads(state, real_BxN, generated)

  def _compute_parts(self, state, batch, rng):
    """As `_compute_whole`, part by part.

    The codec runs twice on each part, as the discriminators must see all parts before
    its own update. Running means (codebooks, the balancer) are updated by each part, so
    `accumulate` times a step. Metrics are means over the parts.
    """
    kept = dict(collections=state.collections, balance=state.balance)

    def disc_part(kept, part, number):
      key = jax.random.fold_in(rng, number)
      made = self._generate(state, kept["collections"], part, key)
      grads = self._disc_grads(state, part["audio_BxN"], made.fake_BxN)
      return {**kept, "collections": made.collections}, grads

    def codec_part(kept, part, number):
      key = jax.random.fold_in(rng, number)
      made = self._generate(state, kept["collections"], part, key)
      now = state.replace(balance=kept["balance"])
      kept, *result = self._codec_grads(now, part["audio_BxN"], made)
      return kept, result

    def disc_grads():
      return mean_over_parts(disc_part, kept, batch, self.accumulate)[1]

    state, metrics_d = self._discriminator_step(state, disc_grads)
    kept, result = mean_over_parts(codec_part, kept, batch, self.accumulate)
    return (state, metrics_d), (kept, *result)

  def _generate(self, state, collections, batch, rng) -> _Generated:
    """Runs the codec in training, with the pullback to the weights that it trains."""
    frozen = {name: p for name, p in state.params.items() if name in self.freeze}
    trained = {name: p for name, p in state.params.items() if name not in frozen}

    def generate(trained):
      inputs = {**frozen, **trained}, collections, batch["audio_BxN"], rng
      return codec_run.run(self.codec, *inputs, self.freeze, self.semantic)

    made, pullback, aux = jax.vjp(generate, trained, has_aux=True)
    return _Generated(*made, pullback, *aux)

  def _codec_grads(self, state, real_BxN, generated):
    """Returns new values of what else the codec keeps, its gradient, and metrics."""
    inputs = state, real_BxN, generated.fake_BxN, generated.vq
    cotangents, terms, balance = self._cotangents(*inputs)
    (grads,) = generated.pullback(cotangents)
    kept = dict(collections=generated.collections, balance=balance)
    return kept, grads, {**terms, **generated.metrics}

  def _disc_grads(self, state, real_BxN, fake_BxN):
    """Returns the discriminators' loss and its gradient."""

    def loss(disc_params):
      judge = functools.partial(self._judge, disc_params)
      real, fake = codec_loss.judge_both(judge, real_BxN, fake_BxN)
      game = losses.ADVERSARIAL[self.adversarial_loss]
      return game.discriminator(real, fake, self.discriminator.loss_weights)

    return jax.value_and_grad(loss)(state.disc_params)

  def _discriminator_step(self, state, disc_grads):
    """Updates the discriminators, from `adversarial_start` on; returns metrics too."""

    def update(state):
      value, grads = disc_grads()
      updates, opt = self.disc_opt.update(grads, state.disc_opt, state.disc_params)
      disc_params = optax.apply_updates(state.disc_params, updates)
      norm = optax.tree.norm(grads)
      return state.replace(disc_params=disc_params, disc_opt=opt), value, norm

    def wait(state):
      return state, jnp.zeros(()), jnp.zeros(())

    playing = self._is_adversarial(state)
    state, value, norm = codec_loss.choose(playing, update, wait, state)
    return state, {"disc": value, "disc_grad_norm": norm}

  def _cotangents(self, state, real_BxN, fake_BxN, vq):
    """Returns gradients w.r.t. (fake_BxN, vq), the terms, the balancer's state."""
    judge = functools.partial(self._judge, state.disc_params)
    adversarial = codec_loss.adversarial_terms(
      judge,
      real_BxN,
      self.discriminator.loss_weights,
      self._is_adversarial(state),
      generator=losses.ADVERSARIAL[self.adversarial_loss].generator,
      matching=losses.FEATURE_MATCHING[self.feature_matching],
    )
    functions = [lambda y_BxN: {"mel": self._mel(real_BxN, y_BxN)}, adversarial]
    if "waveform" in self.weights:
      functions.append(lambda y_BxN: {"waveform": losses.waveform_l1(real_BxN, y_BxN)})
    inputs = functions, self.weights, fake_BxN, vq
    if self.balancer is None:
      return *codec_loss.weighted_gradients(*inputs), state.balance
    balancing = self.balancer, state.balance, self._is_adversarial(state)
    (combined, of_vq), *rest = codec_loss.balanced_gradients(*inputs, *balancing)
    times = self.balancer.times_for_parts(self.accumulate)
    return (times * combined, of_vq), *rest

  @property
  def guessing_loss(self) -> float:
    """The loss of discriminators that only guess."""
    game = losses.ADVERSARIAL[self.adversarial_loss]
    return game.undecided * sum(self.discriminator.loss_weights)

  @property
  def _output_terms(self):
    """Names of the loss' terms that depend on the codec's output."""
    of_vq = ("codebook", "commitment", "distill")
    return [name for name in self.weights if name not in of_vq]

  def _is_adversarial(self, state):
    """Whether the discriminators take part in this step: always, never, or traced."""
    if self.adversarial_start in (0, math.inf):
      return self.adversarial_start == 0
    return state.step >= self.adversarial_start

  def _judge(self, disc_params, x_BxN):
    disc_params = partition.whole(disc_params)
    maps = self.discriminator.apply({"params": disc_params}, x_BxN)
    return jax.tree.map(lambda m: m.astype(jnp.float32), maps)

  def _mel(self, real_BxN, fake_BxN):
    rate = self.codec.sample_rate
    mel = losses.MEL[self.mel_loss]
    return mel(real_BxN, fake_BxN, sample_rate=rate, scales=self.mel_scales)

  def eval_step(self, state: CodecState, batch: Batch) -> Metrics:
    """Measures the averaged weights; see `held_out_crops.measure`."""
    crop = self.crop_samples or batch["audio_BxN"].shape[1]
    variables = self.inference_variables(state)
    return held_out_crops.measure(self.codec, variables, batch, crop, self._mel)

  def inference_variables(self, state: CodecState) -> dict[str, Any]:
    """Returns the averaged weights and codebooks."""
    return state.inference_variables()
