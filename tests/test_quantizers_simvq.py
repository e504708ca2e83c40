"""SimVQ: its closed form, what each gradient reaches, what training leaves frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_codec import Decoder, Discriminator, Encoder

from jaxcodec import weights
from jaxcodec.codecs.codec import Codec
from jaxcodec.quantizers.codebook import nearest, take
from jaxcodec.quantizers.simvq import SimRVQ
from jaxcodec.recipes import experiment
from jaxcodec.tasks.codec_gan import CodecGanTask

B, T, D, K, V = 4, 30, 8, 3, 32
QUANTIZER = SimRVQ(D, K, V, dropout=1.0)
KEY = jax.random.key(1)
ADAM = optax.adam(0.005)


@pytest.fixture(scope="module")
def z_BxTxD():
  return np.random.default_rng(0).standard_normal((B, T, D)).astype(np.float32)


@pytest.fixture(scope="module")
def variables(z_BxTxD):
  """Fresh ones, and biases that are not zero."""
  fresh = jax.jit(QUANTIZER.init)(jax.random.key(0), z_BxTxD)
  params = jax.tree.map(lambda leaf: leaf + 0.1, fresh["params"])
  return jax.tree.map(np.asarray, {**fresh, "params": params})


def _closed_form(variables, z_BxTxD):
  """The codes, the chosen vectors and the squared errors of all levels, float64."""
  left, levels = z_BxTxD.astype(np.float64), []
  for k in range(K):
    layer = variables["params"][f"layers_{k}"]["linear"]
    frozen = variables["vq_stats"][f"layers_{k}"]["frozen"].astype(np.float64)
    mapped = frozen @ layer["kernel"] + layer["bias"]
    codes = ((left[..., None, :] - mapped) ** 2).sum(-1).argmin(-1)
    left = left - mapped[codes]
    levels.append((codes, mapped[codes], (left**2).mean((1, 2))))
  return [np.stack(parts) for parts in zip(*levels, strict=True)]


def test_it_is_its_closed_form(variables, z_BxTxD):
  @jax.jit
  def run(variables):
    quantized = QUANTIZER.apply(variables, z_BxTxD)
    return quantized, QUANTIZER.apply(variables, quantized.codes_BxTxK, method="decode")

  quantized, decoded = run(variables)
  codes, chosen, error_KxB = _closed_form(variables, z_BxTxD)
  np.testing.assert_array_equal(quantized.codes_BxTxK, codes.transpose(1, 2, 0))
  np.testing.assert_allclose(quantized.z_BxTxD, chosen.sum(0), atol=1e-5)
  np.testing.assert_array_equal(decoded, quantized.z_BxTxD)
  for name in ("commitment", "codebook"):
    np.testing.assert_allclose(quantized.losses[name], error_KxB.mean(1).sum(), 1e-5)


def test_an_item_has_the_losses_of_the_levels_that_it_uses(variables, z_BxTxD):
  @jax.jit
  def train(variables, key):
    rngs = {"quantizer": key}
    return QUANTIZER.apply(variables, z_BxTxD, train=True, rngs=rngs)

  quantized = jax.device_get(train(variables, KEY))
  _, chosen, error_KxB = _closed_form(variables, z_BxTxD)
  distance = np.abs(chosen.cumsum(0) - quantized.z_BxTxD).max((2, 3))
  used_B = distance.argmin(0) + 1
  assert distance.min(0).max() < 1e-5 and len(set(used_B)) > 1
  kept_KxB = error_KxB * (np.arange(K)[:, None] < used_B)
  for loss in quantized.losses.values():
    np.testing.assert_allclose(loss, kept_KxB.mean(1).sum(), 1e-5)


def test_gradients_reach_the_layers_and_the_latent_but_no_frozen_codebook(
  variables, z_BxTxD
):
  def outputs(variables, z_BxTxD):
    quantized = QUANTIZER.apply(variables, z_BxTxD)
    return {"latent": quantized.z_BxTxD.sum(), **quantized.losses}

  gradients = jax.jit(jax.jacrev(outputs, (0, 1)))(variables, z_BxTxD)
  for name, (found, _) in gradients.items():
    trains = name == "codebook"
    assert all(leaf.any() == trains for leaf in jax.tree.leaves(found["params"]))
    assert not any(leaf.any() for leaf in jax.tree.leaves(found["vq_stats"]))
  of_z = {name: found for name, (_, found) in gradients.items()}
  assert (of_z["latent"] == 1).all() and not of_z["codebook"].any()
  # A level's error is of what the levels before it left over, each moving the latent.
  _, chosen, _ = _closed_form(variables, z_BxTxD)
  left = sum(z_BxTxD - chosen[: k + 1].sum(0) for k in range(K))
  expected = 2 * left / z_BxTxD.size
  np.testing.assert_allclose(of_z["commitment"], expected, atol=1e-6)


def test_beta_of_the_paper_is_the_ratio_of_the_weights():
  config = experiment("codec=simvq_vocos", codec_name="dac", slm="maskgit")
  of = config.codec_train.weights
  assert of.commitment == 0.25 * of.codebook and config.codec.quantizer.name == "simvq"


def test_training_with_weight_decay_leaves_the_codebook_as_it_was(tmp_path):
  """It comes back from the exported file, too."""
  codec = Codec(Encoder(), SimRVQ(Encoder.output_dim, 2, 8), Decoder(), 1000)
  task = CodecGanTask(
    codec,
    Discriminator(),
    opt=optax.adamw(1e-2, weight_decay=1.0),
    disc_opt=optax.sgd(1e-3),
    weights=dict(mel=15, adversarial=1, feature=2, codebook=1, commitment=0.25),
    mel_scales=((32, 5),),
  )
  batch = {"audio_BxN": np.random.default_rng(0).normal(size=(4, 200)).astype("f")}
  init = jax.jit(task.init)(KEY, batch)
  new, metrics = jax.jit(task.train_step)(init, batch)
  assert all(metrics[name] > 0 for name in ("commitment", "codebook"))
  frozen = jax.device_get(init.collections)
  jax.tree.map(np.testing.assert_array_equal, frozen, jax.device_get(new.collections))
  kernels = [s.params["quantizer"]["layers_1"]["linear"]["kernel"] for s in (init, new)]
  assert (kernels[0] != kernels[1]).all()
  exported = jax.device_get(task.inference_variables(new))
  weights.save_params(tmp_path / weights.FILE, exported)
  loaded = weights.load_params(tmp_path / weights.FILE, like=exported)
  jax.tree.map(np.testing.assert_array_equal, loaded, exported)
  again = task.start_from(init, loaded)
  assert jax.tree.structure(again) == jax.tree.structure(init)


def test_all_codes_are_used_where_plain_ones_collapse():
  """On vectors much nearer to zero than the codes are: none chooses the outer ones."""
  quantizer = SimRVQ(D, 2, 64)
  keys = jax.random.split(KEY, 400)

  def vectors(key, frames=64):
    return 0.07 * jax.random.normal(key, (8, frames, D))

  def train(loss, params):
    def step(carry, key):
      params, state = carry
      updates, state = ADAM.update(jax.grad(loss)(params, vectors(key)), state)
      return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, ADAM.init(params)), keys)[0][0]

  def of_plain(embed_VxD, x_BxTxD):
    codes = nearest(x_BxTxD, jax.lax.stop_gradient(embed_VxD))
    return jnp.mean((take(embed_VxD, codes) - x_BxTxD) ** 2)

  @jax.jit
  def both():
    x_BxTxD = vectors(jax.random.key(2), 512)
    variables = quantizer.init(KEY, x_BxTxD)
    params, frozen = variables["params"], {"vq_stats": variables["vq_stats"]}

    def of_simvq(params, x_BxTxD):
      losses = quantizer.apply({"params": params, **frozen}, x_BxTxD).losses
      return losses["codebook"]

    first = quantizer.bind(variables).layers[0]()
    plain = nearest(x_BxTxD, train(of_plain, first))
    variables = {"params": train(of_simvq, params), **frozen}
    return plain, quantizer.apply(variables, x_BxTxD).metrics["usage"]

  plain, usage_K = both()
  assert len(np.unique(plain)) < 0.75 * 64
  np.testing.assert_array_equal(usage_K, 1)
