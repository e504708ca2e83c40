"""A decoder that is trained for the tokens of a codec that is done."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from toy_codec import Decoder, Discriminator, Encoder

from jaxcodec import weights
from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.fields import ConfigError
from jaxcodec.codecs.codec import Codec
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.recipes import experiment
from jaxcodec.tasks.codec_gan import CodecGanTask

D, K, V, PARTS = Encoder.output_dim, 2, 8, ("encoder", "quantizer")
LAW = dict(dropout=1.0, dropout_per="item")
QUANTIZERS = {
  "ema": EmaRVQ(D, K, V, **LAW),
  "factorized": FactorizedRVQ(D, K, V, 4, **LAW),
}
WEIGHTS = dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25)


def _task(quantizer, **options):
  adamw = optax.adamw(1e-2, weight_decay=0.1)
  codec = Codec(Encoder(), quantizer, Decoder(), 1000)
  scales = ((32, 5),)
  return CodecGanTask(
    codec, Discriminator(), adamw, optax.sgd(1e-3), WEIGHTS, scales, 1, **options
  )


@pytest.fixture(scope="module")
def batch():
  noise = np.random.default_rng(0).standard_normal((4, 200)).astype(np.float32)
  return {"audio_BxN": 0.3 * noise, "length_B": np.full(4, 200, np.int32)}


@pytest.mark.parametrize(("name", "accumulate"), [("ema", 1), ("factorized", 2)])
def test_frozen_parts_keep_their_bits_and_the_decoder_learns(name, accumulate, batch):
  source = _task(QUANTIZERS[name])
  state = jax.jit(source.init)(jax.random.key(0), batch)
  state, _ = jax.jit(source.train_step)(state, batch)
  done = jax.device_get(source.inference_variables(state))

  task = _task(QUANTIZERS[name], freeze=PARTS, accumulate=accumulate)
  state = jax.jit(task.init)(jax.random.key(1), batch)
  begun = task.start_from(state, weights.only_parts(done, PARTS))
  fresh = jax.device_get(state.params["decoder"])
  jax.tree.map(np.testing.assert_array_equal, begun.params["decoder"], fresh)
  step, state = jax.jit(task.train_step), begun
  for _ in range(3):
    state, metrics = step(state, batch)
  after = jax.device_get(task.inference_variables(state))
  kept, given = (weights.only_parts(variables, PARTS) for variables in (after, done))
  jax.tree.map(np.testing.assert_array_equal, kept, given)
  jax.tree.map(np.testing.assert_array_equal, state.collections, begun.collections)
  moved = jax.tree.map(lambda a, b: (a != b).any(), after["params"]["decoder"], fresh)
  assert all(jax.tree.leaves(moved)) and np.isfinite(metrics["loss"])

  assert weights.token_fingerprint(after) == weights.token_fingerprint(done)
  assert weights.fingerprint(after) != weights.fingerprint(done)
  encode = jax.jit(lambda v, x: task.codec.apply(v, x, method="encode").codes_BxTxK)
  x_BxNx1 = batch["audio_BxN"][..., None]
  np.testing.assert_array_equal(encode(after, x_BxNx1), encode(done, x_BxNx1))


def test_a_frozen_quantiser_drops_no_codebooks(batch):
  """The decoder sees what it will be given: all codebooks, as outside of training."""
  codec = Codec(Encoder(), QUANTIZERS["factorized"], Decoder(), 1000)
  x_BxNx1 = batch["audio_BxN"][..., None]
  variables = jax.jit(codec.init)(jax.random.key(0), x_BxNx1)

  @jax.jit
  def run(variables, key):
    rngs = {"quantizer": key}
    trained = codec.apply(variables, x_BxNx1, train=True, rngs=rngs)[0]
    frozen = codec.apply(variables, x_BxNx1, train=True, frozen=PARTS)[0]
    return trained, frozen, codec.apply(variables, x_BxNx1)[0]

  trained, frozen, plain = run(variables, jax.random.key(1))
  np.testing.assert_array_equal(frozen, plain)
  assert (trained != plain).any()


class Conditioned(nn.Module):
  """A decoder with a gain for each number of codebooks that it knows."""

  bandwidth_codebooks = (1, K)
  hop = Decoder.hop

  @nn.compact
  def __call__(self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False):
    gains = self.param("gains", nn.initializers.ones, (2, self.hop))
    row = self.bandwidth_codebooks.index(num_codebooks or K)
    y_BxTxH = nn.Dense(self.hop)(z_BxTxD) * gains[row].reshape(1, 1, -1)
    return y_BxTxH.reshape(len(z_BxTxD), -1, 1)


def test_a_conditioned_decoder_is_told_how_many_codebooks_it_hears(batch):
  """A step moves the gains of one number, drawn for the batch, and of no other."""
  codec = Codec(Encoder(), QUANTIZERS["ema"], Conditioned(), 1000)
  task = dataclasses.replace(
    _task(QUANTIZERS["ema"], freeze=PARTS), codec=codec, opt=optax.sgd(1e-2)
  )
  states, step = (
    [jax.jit(task.init)(jax.random.key(0), batch)],
    jax.jit(task.train_step),
  )
  for _ in range(8):
    state, metrics = step(states[-1], batch)
    states.append(state)
  gains = [np.asarray(state.params["decoder"]["gains"]) for state in states]
  pairs = zip(gains[:-1], gains[1:], strict=True)
  moved = [(a != b).any(1).tolist() for a, b in pairs]
  assert {tuple(rows) for rows in moved} == {(True, False), (False, True)}
  assert "usage" not in metrics and np.isfinite(metrics["loss"])
  evaluated = jax.eval_shape(task.eval_step, states[-1], batch)
  assert evaluated["usage"].shape == (K,)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"freeze": ("decoder",)}, "codec_train.freeze must name .*got 'decoder'"),
    ({"freeze": PARTS}, "freeze needs codec_train.init_from, .* encoder and quantizer"),
  ],
)
def test_what_cannot_be_frozen_is_named(changes, message):
  config = experiment("runlocal", codec_name="dac", slm="maskgit")
  config.codec_train.update(changes)
  with pytest.raises(ConfigError, match=message):
    make_codec_task(config)


def test_a_decoder_of_several_bitrates_is_trained_for_given_tokens_alone():
  arg = "runlocal,codec=vocos_encodec_24khz"
  config = experiment(arg, codec_name="dac", slm="maskgit")
  config.data.sample_rate = 24_000
  with pytest.raises(ConfigError, match="codec_train.freeze must be .* bandwidth_cod"):
    make_codec_task(config)
  config.codec_train.update(freeze=PARTS, init_from="encodec_24khz")
  make_codec_task(config)
