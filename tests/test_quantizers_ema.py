"""EMA codebooks: start, revival, dropout, devices. Parity has tests of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.parallel import sharding
from jaxcodec.quantizers import ema
from jaxcodec.quantizers.euclidean import EmaRVQ

B, T, D, K, V = 8, 16, 4, 2, 16
ONES = np.ones(B * T, np.float32)


def _noise(seed, *shape):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@jax.jit
def _update(book, x_TxD, codes_T, kept_T):
  return ema.update(
    book,
    jax.random.key(0),
    x_TxD,
    codes_T,
    kept_T,
    decay=0.99,
    epsilon=1e-5,
    threshold=2.0,
  )


def _fresh(quantizer):
  """Returns variables before the first batch."""
  z = jax.ShapeDtypeStruct((B, T, D), jnp.float32)
  shapes = jax.eval_shape(quantizer.init, jax.random.key(0), z)
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)


def _starter(quantizer):
  @jax.jit
  def start(variables, z_BxTxD, key):
    mutable, rngs = ["vq_stats"], {"quantizer": key}
    return quantizer.apply(
      variables, z_BxTxD, method="start", mutable=mutable, rngs=rngs
    )[1]

  return start


def _trainer(quantizer):
  @jax.jit
  def step(variables, z_BxTxD, key):
    return quantizer.apply(
      variables, z_BxTxD, train=True, mutable=["vq_stats"], rngs={"quantizer": key}
    )

  return step


@pytest.fixture(scope="module")
def dropping():
  """Returns the start and the step of a stack with dropout per item."""
  quantizer = EmaRVQ(D, K, V, dropout=0.5, dropout_per="item")
  return _starter(quantizer), _trainer(quantizer), _fresh(quantizer)


def _three_steps(start, step, variables, put):
  variables = start(variables, put(_noise(0, B, T, D)), jax.random.key(9))
  for number in range(3):
    z_BxTxD = put(_noise(number, B, T, D))
    quantized, variables = step(variables, z_BxTxD, jax.random.key(number))
  return quantized, variables


def test_eight_devices_give_the_codebooks_of_one(dropping):
  one, stats = _three_steps(*dropping, jnp.asarray)
  mesh = sharding.make_mesh({"data": 8})
  put = lambda z: jax.device_put(z, sharding.batch_sharding(mesh))  # noqa: E731
  eight, same = _three_steps(*dropping, put)
  assert len(eight.z_BxTxD.sharding.device_set) == 8
  for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(same), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(one.codes_BxTxK, eight.codes_BxTxK)


def test_kmeans_finds_clear_clusters_once():
  centres = 10 * _noise(0, 4, D)
  z_BxTxD = centres[np.arange(B * T) % 4].reshape(B, T, D) + 0.01 * _noise(1, B, T, D)
  quantizer = EmaRVQ(D, 1, V, threshold_ema_dead_code=0.0)
  variables = _fresh(quantizer)
  assert variables["vq_stats"]["layers_0"]["inited"] == 0
  assert ema.awaits_start(variables)
  start, step = _starter(quantizer), _trainer(quantizer)
  variables = start(variables, z_BxTxD, jax.random.key(0))
  assert not ema.awaits_start(variables)
  book = variables["vq_stats"]["layers_0"]
  assert book["inited"] == 1 and np.isclose(book["cluster_size"].sum(), B * T)
  used = book["cluster_size"] > 0
  means = (book["embed_avg"] / np.maximum(book["cluster_size"], 1e-9)[:, None])[used]
  np.testing.assert_allclose(means, book["embed"][used], rtol=1e-4)
  again = start(variables, z_BxTxD + 1, jax.random.key(1))
  jax.tree.map(np.testing.assert_array_equal, again, variables)
  quantized, moved = step(variables, z_BxTxD, jax.random.key(1))
  assert np.abs(quantized.z_BxTxD - z_BxTxD).max() < 0.1
  way = moved["vq_stats"]["layers_0"]["embed"] - book["embed"]
  assert 0 < np.abs(way).max() < 0.1


def test_frames_that_are_not_finite_start_nothing():
  quantizer = EmaRVQ(D, K, V)
  start, z_BxTxD = _starter(quantizer), _noise(0, B, T, D)
  spoilt = np.where(np.arange(B).reshape(-1, 1, 1) < 3, np.nan, z_BxTxD)
  started = start(_fresh(quantizer), spoilt, jax.random.key(0))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(started))
  embed = np.asarray(started["vq_stats"]["layers_0"]["embed"])
  assert np.abs(embed).max() < np.abs(z_BxTxD).max()
  nothing = start(_fresh(quantizer), np.nan * spoilt, jax.random.key(0))
  jax.tree.map(np.testing.assert_array_equal, nothing, _fresh(quantizer))


def test_a_revived_code_stays_revived():
  """A revived code is a vector of the batch; the next step keeps it, though unused."""
  x_TxD, sizes = _noise(2, B * T, D), np.full(V, 8.0, np.float32)
  sizes[3] = 1.0
  embed = _noise(3, V, D)
  book = ema.Codebook(embed, embed * sizes[:, None], sizes, np.ones(1))
  codes_T = np.arange(B * T) % V
  new = _update(book, x_TxD, codes_T, ONES)
  distance = np.abs(np.asarray(new.embed)[3] - x_TxD).max(-1)
  assert distance.min() < 1e-4
  np.testing.assert_allclose(new.cluster_size[3], 4.0)
  unused_T = np.where(codes_T == 3, 4, codes_T)
  later = _update(new, 2 * x_TxD, unused_T, ONES)
  np.testing.assert_allclose(later.embed[3], new.embed[3], rtol=1e-4)
  np.testing.assert_allclose(later.cluster_size[3], 0.99 * 4.0, rtol=1e-6)
  alive = 0.99 * 8 * embed[5] + 0.01 * x_TxD[codes_T == 5].sum(0)
  np.testing.assert_allclose(new.embed_avg[5], alive, rtol=1e-5)


def test_codes_live_on_few_frames():
  """With 64 codes on 128 frames the mean count is 2, and no code counts as dead."""
  assert ema.least_count(2.0, jnp.float32(B * T), 64) == 1.0
  assert ema.least_count(2.0, jnp.float32(4800), 1024) == 2.0


def test_vectors_that_do_not_count_change_nothing():
  embed = _noise(0, V, D)
  book = ema.Codebook(embed, embed * 9, np.full(V, 9.0, np.float32), np.ones(1))
  x_TxD, codes_T = _noise(1, B * T, D), np.arange(B * T) % V
  kept_T = (np.arange(B * T) < 50).astype(np.float32)
  spoilt = np.where(kept_T[:, None] > 0, x_TxD, 1e3)
  for a, b in zip(
    *(_update(book, x, codes_T, kept_T) for x in (x_TxD, spoilt)), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  for a, b in zip(_update(book, x_TxD, codes_T, 0 * kept_T), book, strict=True):
    np.testing.assert_array_equal(a, b)


def test_sampled_vectors_are_kept_ones_each_once():
  x_TxD, kept_T = np.arange(40.0)[:, None], (np.arange(40) % 2).astype(np.float32)
  sample = jax.jit(ema.sample_vectors, static_argnums=3)
  for num, most in ((16, 1), (32, 2)):
    found = np.asarray(sample(jax.random.key(0), x_TxD, kept_T, num)).ravel()
    values, times = np.unique(found, return_counts=True)
    assert (values % 2 == 1).all() and times.max() == most
    assert len(values) == min(num, 20)


def test_dropout_per_batch_rests_the_codebooks_it_leaves_out():
  quantizer = EmaRVQ(D, K, V, dropout=1.0)
  step, z_BxTxD = _trainer(quantizer), _noise(0, B, T, D)
  variables = _starter(quantizer)(_fresh(quantizer), z_BxTxD, jax.random.key(9))
  books = lambda tree: [tree["vq_stats"][f"layers_{k}"] for k in range(K)]  # noqa: E731
  seen = set()
  for number in range(8):
    quantized, new = step(variables, z_BxTxD, jax.random.key(number))
    pairs = zip(books(variables), books(new), strict=True)
    moved = tuple(bool((a["embed"] != b["embed"]).any()) for a, b in pairs)
    assert moved[0]
    seen.add(moved)
  assert seen == {(True, False), (True, True)}
  assert {"perplexity", "usage", "live"} <= quantized.metrics.keys()


def test_averaged_codes_are_means_weighted_by_their_counts():
  """Compares with sums over all steps in float64; constants keep their bits."""
  rng, shares = np.random.default_rng(0), [9 / 11, 0.3, 0.02]
  frozen = {"frozen": _noise(9, V, D), "number": np.int32(3)}

  def books(count):
    for _ in range(count):
      embed = rng.normal(size=(V, D)).astype(np.float32)
      size = (5 * rng.random(V)).astype(np.float32)
      size[0] = 0.0  # a code that nothing ever chose
      yield ema.Codebook(embed, embed * size[:, None], size, np.ones(1, np.float32))

  steps = list(books(len(shares) + 1))
  trees = [{"vq_stats": {"layers_0": b._asdict(), "other": frozen}} for b in steps]
  found = trees[0]
  for tree, share in zip(trees[1:], shares, strict=True):
    found = jax.jit(ema.average)(found, tree, share)
  weights = [np.prod(1 - np.array(shares))]
  weights += [s * np.prod(1 - np.array(shares[i + 1 :])) for i, s in enumerate(shares)]
  sizes = [w * np.float64(b.cluster_size) for w, b in zip(weights, steps, strict=True)]
  sums = [s[:, None] * b.embed for s, b in zip(sizes, steps, strict=True)]
  book = found["vq_stats"]["layers_0"]
  np.testing.assert_allclose(book["cluster_size"], sum(sizes), rtol=1e-5)
  np.testing.assert_allclose(book["embed_avg"], sum(sums), rtol=1e-4, atol=1e-5)
  expected = sum(sums)[1:] / sum(sizes)[1:, None]
  np.testing.assert_allclose(book["embed"][1:], expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(book["embed"][0], steps[0].embed[0])
  for name, value in frozen.items():
    np.testing.assert_array_equal(found["vq_stats"]["other"][name], value)


def test_a_projected_codebook_learns_means_of_whole_vectors():
  """Clusters lie in channel 0, and far larger noise in the others."""
  quantizer = EmaRVQ(D, 1, V, first_dim=1, kmeans_iters=20)
  z_BxTxD = 100 * _noise(0, B, T, D)
  cluster_BxT = np.arange(B * T).reshape(B, T) % V
  z_BxTxD[..., 0] = cluster_BxT + 1e-3 * _noise(1, B, T)
  z_BxTxD[..., 0] *= 0.1
  key, fresh = jax.random.key(0), _fresh(quantizer)
  fresh["vq_stats"]["layers_0"]["projection"] = np.eye(D, 1, dtype=np.float32)
  started = _starter(quantizer)(fresh, z_BxTxD, key)
  out, new = _trainer(quantizer)(started, z_BxTxD, key)
  codes_BxT = np.asarray(out.codes_BxTxK[..., 0])
  book = new["vq_stats"]["layers_0"]
  for code in np.unique(codes_BxT):
    vectors_NxD = z_BxTxD[codes_BxT == code]
    np.testing.assert_allclose(
      book["embed_avg"][code] / book["cluster_size"][code],
      vectors_NxD.mean(0),
      rtol=1e-4,
    )
    # A code's vectors are of neighbouring clusters, whatever the other channels are.
    assert np.ptp(vectors_NxD[:, 0]) < 0.35
