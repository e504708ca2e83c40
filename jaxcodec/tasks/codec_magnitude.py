"""Training of a codec of magnitudes, without discriminators."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from jaxcodec import losses
from jaxcodec.codecs.codec import Codec
from jaxcodec.nn import partition
from jaxcodec.tasks import codec_books
from jaxcodec.tasks.accumulation import mean_over_parts
from jaxcodec.tasks.codec_state import CodecState
from jaxcodec.types import Batch, Metrics

# Compressed magnitudes below this count as it among the bands, where the gradient of
# decompression vanishes.
_LEAST = 1e-3


@dataclasses.dataclass(frozen=True)
class CodecMagnitudeTask:
  """Trains a codec of magnitudes to give those of its input.

  The loss needs no audio of the decoder, so that a step searches for no phases.

  Attributes:
    codec: with the encoder and decoder of magnitudes.
    opt: the optimiser, schedule included.
    weights: of the terms of the loss, named as in LOSSES. `magnitude` and `bands` are
      mean squared errors of compressed magnitudes, of bins (weighted by how many bands
      they have) and of bands; the quantiser gives `codebook` or `commitment`.
    mel_scales: (n_fft, mel bands) of each scale of the mel loss of evaluation.
    ema_decay: of the moving averages of weights and codebooks, which are what is
      evaluated and exported; it rises from the start as (1 + t) / (10 + t).
    accumulate: parts that a batch is computed in, one after another; see
      `accumulation`.
    freeze: ("encoder", "quantizer") if they keep their bits, so that a decoder learns
      to speak tokens that stay what they are.
  """

  LOSSES: ClassVar = ("magnitude", "bands", "codebook", "commitment")

  codec: Codec
  opt: optax.GradientTransformation
  weights: Mapping[str, float]
  mel_scales: tuple[tuple[int, int], ...] = losses.DAC_MELS
  ema_decay: float = 0.997
  accumulate: int = 1
  freeze: tuple[str, ...] = ()

  guessing_loss = 0.0  # there are no discriminators that could guess

  def init(self, rng: jax.Array, batch: Batch) -> CodecState:
    """Makes a fresh state; of the batch only the shape of audio_BxN matters."""
    codec_rng, state_rng = jax.random.split(rng)
    variables = self.codec.init(codec_rng, batch["audio_BxN"][..., None])
    nothing = dict(disc_params={}, disc_opt={}, balance={})
    return CodecState.fresh(state_rng, variables, self.opt, self.freeze, **nothing)

  def start_from(self, state: CodecState, variables: dict[str, Any]) -> CodecState:
    """Puts a codec's variables into a fresh state."""
    return state.start_from(variables)

  def begin(self, state: CodecState, batch: Batch) -> CodecState:
    """Starts the codebooks that wait for data; see `codec_books.begin`."""
    parts = dict(accumulate=self.accumulate, freeze=self.freeze)
    return codec_books.begin(self.codec, state, batch["audio_BxN"], **parts)

  def summarize(self, rows: Metrics) -> Metrics:
    """Returns the metrics of a step's codes; see `train.step.summarize`."""
    return codec_books.summarize(self.codec, rows)

  def train_step(self, state: CodecState, batch: Batch) -> tuple[CodecState, Metrics]:
    """Updates the codec. The codebooks' running means are updated by each part."""
    rng = jax.random.fold_in(state.rng, state.step)

    def part(collections, part, number):
      key = jax.random.fold_in(rng, number)
      return self._gradients(state.params, collections, part["audio_BxN"], key)

    audio = {"audio_BxN": batch["audio_BxN"]}
    collections, (grads, metrics) = mean_over_parts(
      part, state.collections, audio, self.accumulate
    )
    state = state.apply_gradients(grads, collections, self.opt, self.ema_decay)
    return state, {**metrics, "grad_norm": optax.tree.norm(grads)}

  def _gradients(self, params, collections, audio_BxN, rng):
    """Returns the new collections, and the gradient with the metrics."""
    frozen = {name: p for name, p in params.items() if name in self.freeze}
    trained = {name: p for name, p in params.items() if name not in frozen}

    def loss(trained):
      (compressed, quantized), new = self.codec.apply(
        {"params": partition.whole({**frozen, **trained}), **collections},
        audio_BxN[..., None],
        train=not self.freeze,
        method=_reconstruct,
        rngs={"quantizer": rng},
        mutable=list(collections),
      )
      terms = {**self._terms(audio_BxN, compressed), **quantized.losses}
      total = sum(self.weights[name] * value for name, value in terms.items())
      metrics = {**quantized.metrics, "codes_BxTxK": quantized.codes_BxTxK}
      return total, (new, {"loss": total, **terms, **metrics})

    grads, (new, metrics) = jax.grad(loss, has_aux=True)(trained)
    return new, (grads, metrics)

  def _terms(self, audio_BxN, compressed_BxTxF, count_B=None):
    """Returns the terms that compare magnitudes, means over the items that count."""
    features = self.codec.encoder.features
    magnitude_BxTxF = features.magnitudes(audio_BxN)
    error_BxTxF = compressed_BxTxF - features.compress(magnitude_BxTxF)
    weights = features.bin_weights().reshape(1, 1, -1)
    bands_BxTxM = features.bands(features.expand(jnp.maximum(compressed_BxTxF, _LEAST)))
    errors = {
      "magnitude": weights * error_BxTxF**2,
      "bands": (bands_BxTxM - features.bands(magnitude_BxTxF)) ** 2,
    }
    return {name: _mean(error.mean((1, 2)), count_B) for name, error in errors.items()}

  def eval_step(self, state: CodecState, batch: Batch) -> Metrics:
    """Measures the terms of the loss and the mel loss of held-out crops."""
    audio_BxN, valid_B = batch["audio_BxN"], batch["length_B"] > 0
    variables = self.inference_variables(state)
    x_BxNx1 = audio_BxN[..., None]
    compressed, quantized = self.codec.apply(variables, x_BxNx1, method=_reconstruct)
    y_BxN = self.codec.apply(variables, x_BxNx1)[0][..., 0]
    real_BxN, fake_BxN = (jnp.where(valid_B[:, None], a, 0) for a in (audio_BxN, y_BxN))
    weight = valid_B.sum()
    rate, scales = self.codec.sample_rate, self.mel_scales
    mel = losses.MEL["dac"](real_BxN, fake_BxN, sample_rate=rate, scales=scales)
    return {
      "mel": mel * valid_B.size / weight,
      **self._terms(audio_BxN, compressed, valid_B),
      **codec_books.heard_metrics(self.codec, quantized, batch["length_B"]),
      "weight": weight,
    }

  def inference_variables(self, state: CodecState) -> dict[str, Any]:
    """Returns the averaged weights and codebooks."""
    return state.inference_variables()


def _reconstruct(codec, x_BxNxC, train=False):
  """Returns the compressed magnitudes of the codes of audio, and the codes."""
  quantized = codec.quantizer(codec.encoder(x_BxNxC, train=train), train=train)
  return codec.decoder.compressed(quantized.z_BxTxD), quantized


def _mean(value_B, count_B):
  if count_B is None:
    return value_B.mean()
  return jnp.where(count_B, value_B, 0).sum() / count_B.sum()
