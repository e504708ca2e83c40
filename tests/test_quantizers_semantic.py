"""The split quantiser: its closed form, what distillation teaches, and its training."""

import types

import jax
import numpy as np
import optax
import pytest
from toy_codec import HOP, Decoder, Discriminator, Encoder

from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.semantic import distilled_features
from jaxcodec.codecs.codec import Codec
from jaxcodec.pipeline import train_options
from jaxcodec.pipeline.experiment import plain
from jaxcodec.quantizers import ema
from jaxcodec.quantizers.semantic import SemanticRVQ
from jaxcodec.recipes import experiment
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.tasks.codec_gan import CodecGanTask

B, T, D, K, V, S = 4, 30, 8, 3, 32, 5
QUANTIZER = SemanticRVQ(D, K, V, S, dropout=1.0)
KEY = jax.random.key(1)
OF_DAC = dict(codec_name="dac", slm="maskgit")


@pytest.fixture(scope="module")
def z_BxTxD():
  return np.random.default_rng(0).standard_normal((B, T, D)).astype(np.float32)


@pytest.fixture(scope="module")
def semantic_BxTxS():
  return np.random.default_rng(1).standard_normal((B, T, S)).astype(np.float32)


@pytest.fixture(scope="module")
def variables(z_BxTxD):
  return jax.device_get(jax.jit(QUANTIZER.init)(KEY, z_BxTxD))


def _parts(variables, z_BxTxD):
  """Returns the codes (B, T, K) and the two parts of the latent, in float64."""
  params, codes, parts = variables["params"], [], {}
  for name, levels in (("first", 1), ("rest", K - 1)):
    left = x = z_BxTxD @ np.float64(params[f"{name}_in"]["kernel"])
    for level in range(levels):
      book = np.float64(variables["vq_stats"][name][f"layers_{level}"]["embed"])
      codes.append(((left[..., None, :] - book) ** 2).sum(-1).argmin(-1))
      left = left - book[codes[-1]]
    parts[name] = (x - left) @ np.float64(params[f"{name}_out"]["kernel"])
  return np.stack(codes, -1), parts


def test_it_is_two_quantisers_side_by_side(variables, z_BxTxD, semantic_BxTxS):
  @jax.jit
  def run(variables):
    quantized = QUANTIZER.apply(variables, z_BxTxD, semantic_BxTxS=semantic_BxTxS)
    return quantized, QUANTIZER.apply(variables, z_BxTxD, num_codebooks=1)

  whole, first = run(variables)
  codes, parts = _parts(variables, z_BxTxD)
  np.testing.assert_array_equal(whole.codes_BxTxK, codes)
  np.testing.assert_allclose(whole.z_BxTxD, parts["first"] + parts["rest"], atol=1e-5)
  np.testing.assert_array_equal(first.codes_BxTxK, codes[..., :1])
  np.testing.assert_allclose(first.z_BxTxD, parts["first"], atol=1e-5)
  layer = variables["params"]["to_semantic"]
  found = parts["first"] @ np.float64(layer["kernel"]) + layer["bias"]
  norms = [np.linalg.norm(x, axis=-1) for x in (found, semantic_BxTxS)]
  cosine = (found * semantic_BxTxS).sum(-1) / norms[0] / norms[1]
  np.testing.assert_allclose(whole.losses["distill"], 1 - cosine.mean(), 1e-5)
  assert "distill" not in first.losses


def test_distillation_teaches_the_first_codebooks_way_alone(
  variables, z_BxTxD, semantic_BxTxS
):
  def loss(params, z_BxTxD):
    now = {**variables, "params": params}
    quantized = QUANTIZER.apply(now, z_BxTxD, semantic_BxTxS=semantic_BxTxS)
    return quantized.losses["distill"]

  of_params, of_z = jax.jit(jax.grad(loss, (0, 1)))(variables["params"], z_BxTxD)
  moved = {name for name, leaf in of_params.items() if leaf["kernel"].any()}
  assert moved == {"first_in", "first_out", "to_semantic"} and of_z.any()


def test_an_item_may_use_the_first_codebook_alone(variables, z_BxTxD):
  """The rest then adds nothing to it, and no gradient comes back through it."""

  def run(z_BxTxD, variables):
    rngs = {"quantizer": KEY}
    options = dict(train=True, rngs=rngs, mutable=["vq_stats"])
    return QUANTIZER.apply(variables, z_BxTxD, **options)[0].z_BxTxD

  @jax.jit
  def both(variables):
    rest = variables["params"] | {"first_out": {"kernel": np.zeros((D, D), "f")}}
    only_rest = {**variables, "params": rest}
    latent, pullback = jax.vjp(lambda z: run(z, only_rest), z_BxTxD)
    used_B = QUANTIZER.apply({}, B, K, True, rngs={"quantizer": KEY}, method="used")
    return used_B, latent, pullback(latent + 1)[0]

  used_B, latent, grads = jax.device_get(both(variables))
  alone_B = used_B == 1
  assert alone_B.any() and not alone_B.all()
  for array in (latent, grads):
    np.testing.assert_array_equal(np.abs(array).max((1, 2)) == 0, alone_B)


def test_training_brings_the_first_codebook_nearer_to_the_features():
  codec = Codec(Encoder(), SemanticRVQ(Encoder.output_dim, 2, 8, 26), Decoder(), 1000)
  weights = dict(mel=15, adversarial=1, feature=2, codebook=1, commitment=0.25)
  task = CodecGanTask(
    codec,
    Discriminator(),
    opt=optax.adam(1e-2),
    disc_opt=optax.sgd(1e-3),
    weights={**weights, "distill": 30.0},
    mel_scales=((32, 5),),
    semantic=Mfcc(1000, HOP),
  )
  t = np.arange(400) / 1000
  tones = np.sin(2 * np.pi * np.outer(60 + 40 * np.arange(4), t) * t[None])
  batch = {"audio_BxN": tones.astype(np.float32)}
  state, step = jax.jit(task.init)(KEY, batch), jax.jit(task.train_step)
  state = task.begin(state, batch)
  assert not ema.awaits_start(state.collections)
  lost = []
  for _ in range(60):
    state, metrics = step(state, batch)
    lost.append(float(metrics["distill"]))
    assert metrics["perplexity"].shape == metrics["snr_db"].shape == (2,)
  assert lost[-1] < 0.8 * lost[0]
  terms = {name: metrics[name] for name in task.weights if name in metrics}
  total = sum(task.weights[name] * value for name, value in terms.items())
  np.testing.assert_allclose(metrics["loss"], total, 1e-5)


@pytest.mark.parametrize(
  ("dim", "changes", "message"),
  [
    (25, {}, "codec.quantizer.semantic_dim must be 26, as .*'mfcc' are, got 25"),
    (26, {"weights": {}}, "codec_train.weights.distill is missing"),
    (26, {"task": "magnitude"}, "codec_train.task must be 'gan'"),
  ],
)
def test_what_cannot_be_taught_is_named(dim, changes, message):
  codec = Codec(Encoder(), SemanticRVQ(4, 2, 8, dim), Decoder(), 1000)
  config = {
    "codec_train": {"weights": {"distill": 1.0}, **changes},
    "semantic": {"name": "mfcc", "num_clusters": 4},
  }
  with pytest.raises(ConfigError, match=message):
    distilled_features(config, codec)
  assert distilled_features(config, Codec(Encoder(), None, Decoder(), 1000)) is None


def test_the_study_row_is_taught_by_the_configured_features():
  config = plain(experiment("runlocal,codec=semantic_vocos", **OF_DAC))
  task = make_codec_task(config)
  assert task.semantic == Mfcc(16_000, 320) and task.weights["distill"] == 1.0
  others = experiment("runlocal", **OF_DAC).codec_train.weights
  assert "distill" not in others
  models = types.SimpleNamespace(codec_task=task)
  known = types.SimpleNamespace(config=config, models=models)
  recorded = train_options.recorded_config(known, "codec_train")
  assert recorded["semantic"] == task.semantic.config


def test_too_few_codebooks_are_named():
  with pytest.raises(ValueError, match="num_codebooks must be at least 2, got 1"):
    SemanticRVQ(D, 1, V)
