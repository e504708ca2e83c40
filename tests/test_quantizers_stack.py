"""What all quantisers share, the projections of the factorised one, and FSQ."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.nn.weight_norm import fold_weight_norm
from jaxcodec.quantizers.codebook import code_counts, snr_db
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.quantizers.fsq import FSQ, bound
from jaxcodec.quantizers.semantic import SemanticRVQ
from jaxcodec.quantizers.simvq import SimRVQ
from jaxcodec.types import TokenSpec

B, T, D, K = 4, 30, 12, 3
LEVELS = (5, 4, 3)
QUANTIZERS = {
  "factorized_rvq": FactorizedRVQ(D, K, 32, 4, dropout=1.0),
  "ema_rvq": EmaRVQ(D, K, 32, dropout=1.0),
  "fsq": FSQ(D, K, LEVELS, dropout=1.0),
  "semantic_rvq": SemanticRVQ(D, K, 32, dropout=1.0),
  "simvq": SimRVQ(D, K, 32, dropout=1.0),
}


@pytest.fixture(scope="module")
def z_BxTxD():
  return np.random.default_rng(0).standard_normal((B, T, D)).astype(np.float32)


@pytest.fixture(scope="module")
def variables(z_BxTxD):
  """Returns each quantiser's variables, large enough to reach FSQ's outer levels."""
  init = jax.jit(
    lambda key: {name: q.init(key, z_BxTxD) for name, q in QUANTIZERS.items()}
  )
  return jax.tree.map(lambda x: 3 * x, init(jax.random.key(0)))


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("books", [1, K])
def test_encoding_and_decoding_are_the_halves_of_a_call(
  name, variables, z_BxTxD, books
):
  quantizer, variables = QUANTIZERS[name], variables[name]

  @jax.jit
  def both(variables, z_BxTxD):
    whole = quantizer.apply(variables, z_BxTxD, num_codebooks=books)
    codes = quantizer.apply(variables, z_BxTxD, num_codebooks=books, method="encode")
    return whole, codes, quantizer.apply(variables, codes, method="decode")

  whole, codes, decoded = both(variables, z_BxTxD)
  assert codes.shape == (B, T, books) and codes.dtype == jnp.int32
  assert codes.max() < quantizer.codebook_size and len(np.unique(codes)) > 10
  np.testing.assert_array_equal(codes, whole.codes_BxTxK)
  np.testing.assert_allclose(decoded, whole.z_BxTxD, atol=1e-5)
  assert all(m.shape == (books,) for m in whole.metrics.values())


def test_folded_weights_give_the_same_codes(variables, z_BxTxD):
  quantizer, variables = (of["factorized_rvq"] for of in (QUANTIZERS, variables))

  @jax.jit
  def both(params):
    folded = fold_weight_norm(params)
    return [
      quantizer.apply({"params": p}, z_BxTxD, method="encode") for p in (params, folded)
    ]

  np.testing.assert_array_equal(*both(variables["params"]))


def test_dropout_is_drawn_per_item_or_per_batch():
  @jax.jit
  @jax.vmap
  def used(key):
    return [
      FSQ(D, K, dropout=1.0, dropout_per=per).apply(
        {}, B, K, True, rngs={"quantizer": key}, method="used"
      )
      for per in ("item", "batch")
    ]

  per_item, per_batch = used(jax.random.split(jax.random.key(0), 200))
  for drawn in (per_item, per_batch):
    share = np.bincount(drawn[:, 0], minlength=K + 1) / 200
    np.testing.assert_allclose(share, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.1)
  assert (per_batch == per_batch[:, :1]).all() and (per_item != per_item[:, :1]).any()


def test_a_share_below_an_item_is_dropped_in_some_batches():
  quantizer = FSQ(D, K, dropout=0.25)
  used = lambda key: quantizer.apply(  # noqa: E731
    {}, 2, K, True, rngs={"quantizer": key}, method="used"
  )
  used_RxB = np.asarray(
    jax.jit(jax.vmap(used))(jax.random.split(jax.random.key(0), 999))
  )
  # Of half the batches one item has fewer, in two thirds of the draws.
  np.testing.assert_allclose((used_RxB < K).mean(0), [1 / 3, 0], atol=0.05)


def test_dropout_takes_the_finer_codebooks_from_the_latent(variables, z_BxTxD):
  quantizer = FSQ(D, K, LEVELS, dropout=0.5)

  @jax.jit
  def run(variables, key):
    trained = quantizer.apply(variables, z_BxTxD, train=True, rngs={"quantizer": key})
    coarse = [
      quantizer.apply(variables, z_BxTxD, num_codebooks=k + 1) for k in range(K)
    ]
    return trained.z_BxTxD, [quantized.z_BxTxD for quantized in coarse]

  trained, coarse = run(variables["fsq"], jax.random.key(1))
  used = [
    next(k for k in range(K) if np.allclose(item, coarse[k][b], atol=1e-5))
    for b, item in enumerate(trained)
  ]
  assert used[B // 2 :] == [K - 1] * (B // 2) and min(used) < K - 1


@pytest.mark.parametrize("name", sorted({*QUANTIZERS} - {"semantic_rvq"}))
def test_energy_and_snr_after_each_level(name, variables, z_BxTxD):
  """Compares with decoding the first few levels; of FSQ, with its channels."""
  quantizer, variables = QUANTIZERS[name], variables[name]

  @jax.jit
  def run(variables):
    quantized = quantizer.apply(variables, z_BxTxD)
    codes = [quantized.codes_BxTxK[..., : k + 1] for k in range(K)]
    coarse = [quantizer.apply(variables, c, method="decode") for c in codes]
    return quantized.metrics, coarse

  metrics, coarse = jax.device_get(run(variables))
  signal = z_BxTxD
  if name == "fsq":
    out = variables["params"]["project_out"]
    inverse = np.linalg.pinv(out["kernel"][0])  # it has fewer inputs than outputs
    coarse = [(latent - np.asarray(out["bias"])) @ inverse for latent in coarse]
    params = jax.tree.map(np.asarray, variables["params"])
    channels = _channels_of_fsq(params, z_BxTxD).astype(np.float32)
    half = np.array([L // 2 for L in LEVELS * K])
    signal = np.asarray(bound(channels, LEVELS * K)) / half
  left = [np.mean((signal - latent) ** 2) for latent in coarse]
  np.testing.assert_allclose(metrics["residual_energy"], left, 1e-3)
  expected = 10 * np.log10(np.mean(signal**2) / left)
  np.testing.assert_allclose(metrics["snr_db"], expected, atol=0.01)


def test_snr_is_finite_without_a_signal_or_without_noise():
  snr = snr_db(jnp.array(0.0), jnp.array([0.0, 1.0]))
  assert np.isfinite(snr).all() and snr[0] == 0 > snr[1]
  assert np.isfinite(snr_db(jnp.array(1.0), jnp.zeros(1))).all()


@pytest.mark.parametrize("name", ["factorized_rvq", "ema_rvq", "simvq"])
def test_losses_are_summed_over_levels_or_averaged_over_those_in_use(
  name, variables, z_BxTxD
):
  summed = QUANTIZERS[name].clone(dropout=0.0, loss_reduction="sum")
  averaged = summed.clone(loss_reduction="mean")

  @jax.jit
  def losses(variables):
    return [
      [q.apply(variables, z_BxTxD, num_codebooks=k).losses for k in range(1, K + 1)]
      for q in (summed, averaged)
    ]

  for books, (total, mean) in enumerate(zip(*losses(variables[name]), strict=True), 1):
    assert total.keys() == mean.keys() and "commitment" in total
    for loss, value in total.items():
      np.testing.assert_allclose(value, books * mean[loss], 1e-6)


def test_items_that_use_fewer_levels_have_their_own_mean(variables, z_BxTxD):
  """Compares with each item's mean by itself, for the number that it has drawn."""
  quantizer = QUANTIZERS["simvq"].clone(loss_reduction="mean")

  @jax.jit
  def run(variables, key):
    rngs = {"quantizer": key}
    trained = quantizer.apply(variables, z_BxTxD, train=True, rngs=rngs)
    used_B = quantizer.apply({}, B, K, True, rngs=rngs, method="used")
    alone = [
      [
        quantizer.apply(variables, z_BxTxD[b : b + 1], num_codebooks=k).losses
        for k in range(1, K + 1)
      ]
      for b in range(B)
    ]
    return trained.losses, used_B, alone

  found, used_B, alone = run(variables["simvq"], jax.random.key(1))
  assert len(set(used_B.tolist())) > 1
  for name, value in found.items():
    each = [alone[b][used - 1][name] for b, used in enumerate(used_B)]
    np.testing.assert_allclose(value, np.mean(each), 1e-5)


def test_a_wrong_reduction_is_named():
  with pytest.raises(ValueError, match="loss_reduction must be one of .*'max'"):
    SimRVQ(D, K, 32, loss_reduction="max")


@pytest.mark.parametrize(
  "wrong", [{"dropout": 1.5}, {"dropout_per": "frame"}, {"levels": (5, 2)}]
)
def test_wrong_settings_are_named(wrong):
  with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
    FSQ(D, K, **wrong)


def _channels_of_fsq(params, z_BxTxD):
  """Normalises and projects the latent in float64."""
  x, norm = z_BxTxD.astype(np.float64), params["norm"]
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
  return (x * norm["scale"] + norm["bias"]) @ params["project_in"]["kernel"][0]


def test_fsq_is_its_closed_form(variables, z_BxTxD):
  """Compares with the nearest of all grid points in float64, counted in mixed radix."""
  variables = jax.tree.map(np.asarray, variables["fsq"])
  x = _channels_of_fsq(variables["params"], z_BxTxD)
  x = x.reshape(B, T, K, 3)
  even = np.tanh(x + np.arctanh(0.5 / (1.5 * 0.999))) * 1.5 * 0.999 - 0.5
  odd = np.tanh(x) * np.array([2.0, 1.5, 1.0]) * 0.999
  squashed = np.where(np.array(LEVELS) % 2, odd, even)
  grid = list(itertools.product(range(-1, 2), range(-2, 2), range(-2, 3)))
  points = np.array(grid)[:, ::-1]  # the first channel turns fastest
  distance = ((squashed[..., None, :] - points) ** 2).sum(-1)
  quantized = jax.jit(QUANTIZERS["fsq"].apply)(variables, z_BxTxD)
  np.testing.assert_array_equal(quantized.codes_BxTxK, distance.argmin(-1))
  assert len(np.unique(quantized.codes_BxTxK)) > 30 and quantized.losses == {}
  chosen = (points[distance.argmin(-1)] / np.array([2, 2, 1])).reshape(B, T, -1)
  layer = variables["params"]["project_out"]
  expected = chosen @ layer["kernel"][0] + layer["bias"]
  np.testing.assert_allclose(quantized.z_BxTxD, expected, atol=1e-5)


def test_fsq_keeps_zero_and_reaches_its_outer_levels():
  x = jnp.array([[0.0, 0.0], [-9.0, -9.0], [9.0, 9.0]])
  bounded = jax.jit(bound, static_argnums=1)(x, (8, 5))
  np.testing.assert_allclose(bounded[0], [0, 0], atol=1e-6)
  np.testing.assert_array_equal(np.round(bounded[1:]), [[-4, -2], [3, 2]])


def test_fsq_uses_its_codes_however_small_the_latents_are():
  quantizer = FSQ(64, 2)
  z_BxTxD = 3 + 0.01 * jax.random.normal(jax.random.key(0), (1, 4096, 64))
  variables = jax.jit(quantizer.init)(jax.random.key(1), z_BxTxD)
  quantized = jax.jit(quantizer.apply)(variables, z_BxTxD)
  assert quantized.metrics["perplexity"].min() > 0.5 * quantizer.codebook_size


def test_fsq_lets_gradients_through(variables, z_BxTxD):
  total = lambda z: QUANTIZERS["fsq"].apply(variables["fsq"], z).z_BxTxD.sum()  # noqa: E731
  assert np.abs(jax.jit(jax.grad(total))(z_BxTxD)).min() > 0


@pytest.mark.parametrize("name", QUANTIZERS)
def test_each_has_what_a_codec_and_its_statistics_ask(name, variables, z_BxTxD):
  """Checks `quantizers.quantizer.Quantizer`'s attributes for each quantiser."""
  quantizer = QUANTIZERS[name]
  codec = Codec(DacEncoder(2, (2, 5)), quantizer, DacDecoder(8, (5, 2)), 1000)
  size = {"fsq": 5 * 4 * 3}.get(name, 32)
  assert codec.spec == TokenSpec(K, size, hop=10, sample_rate=1000)
  quantized = jax.jit(quantizer.apply)(variables[name], z_BxTxD)
  assert set(quantized.losses) <= {"commitment", "codebook"}
  assert {"perplexity", "usage", "snr_db"} <= set(quantized.metrics)
  counts = code_counts(quantized.codes_BxTxK, size)
  assert counts.sum(1).tolist() == [B * T] * K  # no code is out of range
  np.testing.assert_allclose(quantized.metrics["usage"], (counts > 0).mean(1), 1e-6)
