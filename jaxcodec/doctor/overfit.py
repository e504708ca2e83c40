"""Checks that tiny models overfit one batch, as anything that trains must."""

import math
from collections.abc import Iterator

import jax
import numpy as np
import optax

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.discriminators import DacDiscriminator
from jaxcodec.codecs.seanet import SeanetEncoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.doctor.diagnosis import FAIL, PASS, WARN
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import TokenSpec

CODEC_STEPS, SLM_STEPS = 200, 200
_RATE, _CODES = 8000, 16
_MEL, _NATS = 0.6, 0.5  # fractions of the initial losses to fall below
_USED = 0.25  # least perplexity, as a fraction of the codebook size


def codec() -> Iterator[tuple[str, str]]:
  """Trains a codec with a discriminator on four tones; checks codebook use, too."""
  task, batch = _codec_task(), _tones()
  state = jax.jit(task.init)(jax.random.key(0), batch)
  step = jax.jit(task.train_step, donate_argnums=0)
  state, first = step(state, batch)
  for _ in range(CODEC_STEPS):
    state, last = step(state, batch)
  before, after = float(first["mel"]), float(last["mel"])
  text = f"mel distance {before:.3f} to {after:.3f} in {CODEC_STEPS} steps"
  yield PASS if after < _MEL * before else FAIL, text
  perplexity_K = np.asarray(last["perplexity"])
  books = " and ".join(f"{value:.1f}" for value in perplexity_K)
  text = f"perplexity of its codebooks {books}, of {_CODES} codes"
  yield PASS if perplexity_K.min() > _USED * _CODES else WARN, text


def _codec_task() -> CodecGanTask:
  opt = optax.adamw(3e-3, b1=0.8)
  weights = dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25)
  return CodecGanTask(
    Codec(
      SeanetEncoder(width=8, strides=(20,), latent_dim=16, lstm_layers=0),
      FactorizedRVQ(16, 2, _CODES, 4, dropout=0.0),
      VocosDecoder(width=32, mlp_width=64, depth=1, n_fft=80, hop=20),
      _RATE,
    ),
    DacDiscriminator(periods=(), n_ffts=(64,), period_width=1, band_width=2),
    opt,
    opt,
    weights,
    mel_scales=((64, 10), (256, 20)),
  )


def _tones() -> dict[str, np.ndarray]:
  n = np.arange(2000) / _RATE
  rng = np.random.default_rng(0)
  sweeps = [np.sin(2 * np.pi * (100 + 150 * row) * (1 + n) * n) for row in range(4)]
  audio_BxN = 0.3 * np.array(sweeps) + 0.01 * rng.standard_normal((4, len(n)))
  return {"audio_BxN": audio_BxN.astype(np.float32)}


def slm() -> Iterator[tuple[str, str]]:
  """Trains a masked language model on random tokens."""
  spec = TokenSpec(num_codebooks=2, codebook_size=_CODES, hop=20, sample_rate=_RATE)
  model = MaskGit(spec, num_semantic=64, width=64, depth=2, heads=4, dropout=0.0)
  task = SlmTask(model, steps=SLM_STEPS + 1, learning_rate=1e-2, warmup_steps=10)
  rng = np.random.default_rng(0)
  batch = {
    "codes_BxTxK": rng.integers(_CODES, size=(4, 16, 2)).astype(np.int32),
    "semantic_BxT": np.arange(64, dtype=np.int32).reshape(4, 16),
    "mask_BxT": np.ones((4, 16), bool),
    "index_B": np.arange(4, dtype=np.int32),
  }
  state = jax.jit(task.init)(jax.random.key(0), batch)
  step = jax.jit(task.train_step, donate_argnums=0)
  for _ in range(SLM_STEPS):
    state, _ = step(state, batch)
  measured = jax.device_get(jax.jit(task.eval_step)(state, batch))
  loss, gain = float(measured["loss"]), float(measured["gain_per_codebook"][0])
  text = (
    f"cross-entropy {loss:.3f} nats in {SLM_STEPS} steps, by chance"
    f" {math.log(_CODES):.3f}"
  )
  yield PASS if loss < _NATS * math.log(_CODES) else FAIL, text
  text = f"another row's semantic tokens cost it {gain:.3f} nats on codebook 0"
  used = gain > _NATS * math.log(_CODES)
  yield (PASS, text) if used else (WARN, f"ConditionIgnored: {text}")
