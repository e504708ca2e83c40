"""Semantic tokens: MFCC against scipy, k-means against scikit-learn, files."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import scipy.fft

from jaxcodec.semantic import kmeans, tokenizer
from jaxcodec.semantic.mfcc import Mfcc, dct_matrix

MFCC = Mfcc(sample_rate=16_000, hop=320)
_mfcc = jax.jit(MFCC.__call__)


def _voices(num_samples, seed=0):
  """Returns two rows of chirps and noise, unlike enough for their tokens to differ."""
  rng = np.random.default_rng(seed)
  t = np.arange(num_samples) / 16_000
  tones = np.sin(2 * np.pi * np.outer([300, 900], t) * (1 + t))
  return (0.3 * tones + 0.02 * rng.normal(size=tones.shape)).astype(np.float32)


def _blobs(points, clusters, seed=0):
  rng = np.random.default_rng(seed)
  centres = rng.normal(size=(clusters, 5)) * 4
  noise = rng.normal(size=(points, 5))
  return (centres[rng.integers(clusters, size=points)] + noise).astype(np.float32)


def test_dct_is_scipys():
  x = np.random.default_rng(0).normal(size=(4, 40)).astype(np.float32)
  want = scipy.fft.dct(x, type=2, norm="ortho")[:, :13]
  np.testing.assert_allclose(x @ dct_matrix(40, 13), want, atol=1e-5)


def test_cepstra_are_librosas():
  librosa = pytest.importorskip("librosa")
  audio = _voices(3200)
  got = MFCC.cepstra(jnp.asarray(audio))
  padded = np.pad(audio, ((0, 0), (40, 40)))
  # Not all of librosa's dependencies are free of deprecation warnings.
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mel = librosa.feature.melspectrogram(
      y=padded,
      sr=16_000,
      n_fft=400,
      hop_length=320,
      n_mels=40,
      power=1.0,
      center=False,
    )
    log_mel = np.log(np.maximum(mel, 1e-5))
    want = librosa.feature.mfcc(S=log_mel, n_mfcc=13, norm="ortho")
  assert got.shape == (2, 10, 13)
  np.testing.assert_allclose(got, want.swapaxes(1, 2), atol=2e-3)


def test_frames_are_the_codecs_for_every_length():
  for samples in (1, 319, 320, 321, 1600):
    features = _mfcc(jnp.zeros((1, samples)), jnp.array([samples]))
    assert features.shape == (1, -(-samples // 320), 26)
    assert np.isfinite(features).all()


def test_slopes_are_those_of_a_fitted_line():
  audio = _voices(320 * 12)
  cepstra = np.asarray(MFCC.cepstra(jnp.asarray(audio)))
  features = np.asarray(_mfcc(jnp.asarray(audio), jnp.array([320 * 12] * 2)))
  slope = np.stack(
    [[np.polyfit(range(5), row[t : t + 5], 1)[0] for t in range(8)] for row in cepstra]
  )
  # Normalisation is affine in each feature.
  for row in range(2):
    for c in range(13):
      match = np.corrcoef(slope[row, :, c], features[row, 2:-2, 13 + c])[0, 1]
      assert match > 0.999


def test_a_constant_gain_and_filter_leave_the_features_nearly_alone():
  audio = _voices(320 * 40)
  length = jnp.array([audio.shape[1]] * 2)
  plain = np.asarray(_mfcc(jnp.asarray(audio), length))
  louder = np.asarray(_mfcc(jnp.asarray(audio * 0.4), length))
  np.testing.assert_allclose(plain, louder, atol=1e-3)
  np.testing.assert_allclose(plain.mean(1), 0, atol=1e-4)
  np.testing.assert_allclose(plain.std(1), 1, atol=1e-3)


def test_padding_of_any_value_does_not_alter_valid_frames():
  audio = _voices(5000)
  fitted = tokenizer.fit(
    jax.random.key(0), MFCC, [_features(audio[:1]), _features(audio[1:])], num_tokens=6
  )
  want = [fitted.encode(audio[:1], jnp.array([5000]))[0]]
  want += [fitted.encode(audio[1:, :3300], jnp.array([3300]))[0]]
  padded = np.pad(audio, ((0, 0), (0, 900)))
  padded[0, 5000:] = np.nan
  padded[1, 3300:] = 7
  got = fitted.encode(padded, jnp.array([5000, 3300]))
  assert got.shape == (2, 19) and got.dtype == jnp.int32
  np.testing.assert_array_equal(got[0, :16], want[0])
  np.testing.assert_array_equal(got[1, :11], want[1])
  assert not got[0, 16:].any() and not got[1, 11:].any()


def _features(audio_BxN):
  length = jnp.full((audio_BxN.shape[0],), audio_BxN.shape[1])
  return np.asarray(_mfcc(jnp.asarray(audio_BxN), length))[0]


@pytest.mark.parametrize("tolerance", [0.0, 1e-4, 0.5])
def test_lloyd_is_scikit_learns_from_the_same_start(tolerance):
  cluster = pytest.importorskip("sklearn.cluster")
  x = _blobs(900, 12)
  start = kmeans.start(jax.random.key(0), jnp.asarray(x), 12)
  got = kmeans.lloyd(jnp.asarray(x), start, 300, tolerance=tolerance)
  options = dict(n_init=1, max_iter=300, tol=tolerance, algorithm="lloyd")
  want = cluster.KMeans(12, init=np.asarray(start), **options).fit(x)
  assert got.iterations == want.n_iter_
  np.testing.assert_allclose(got.inertia, want.inertia_ / 900, rtol=1e-5)
  np.testing.assert_allclose(got.centroid_VxD, want.cluster_centers_, atol=1e-4)


def test_blocks_and_devices_do_not_change_the_result(monkeypatch):
  x = jnp.asarray(_blobs(1000, 8))
  start = kmeans.start(jax.random.key(0), x, 8)
  want = kmeans.lloyd(x, start, 50)
  monkeypatch.setattr(kmeans, "_BLOCK", 300)
  blocked = jax.jit(kmeans.lloyd.__wrapped__, static_argnums=2)
  mesh = jax.sharding.Mesh(np.array(jax.devices()), "data")
  spec = jax.sharding.PartitionSpec("data")
  sharded = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
  for points in (x, sharded):
    got = blocked(points, start, 50)
    np.testing.assert_allclose(got.centroid_VxD, want.centroid_VxD, atol=1e-4)
    np.testing.assert_allclose(got.inertia, want.inertia, rtol=1e-5)


def test_a_fit_on_eight_devices_is_that_on_one(monkeypatch):
  monkeypatch.setattr(kmeans, "_BLOCK", 300)
  monkeypatch.setattr(tokenizer, "_SHARDED_BYTES", 0)
  mesh = jax.sharding.Mesh(np.array(jax.devices()), "data")
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  fit = functools.partial(tokenizer.fit, jax.random.key(3), MFCC, [_blobs(1003, 8)])
  one, eight = (fit(num_tokens=12, sharding=where) for where in (None, rows))
  np.testing.assert_allclose(one.centroid_VxD, eight.centroid_VxD, atol=1e-4)


def test_start_draws_points_by_squared_distance():
  # Two points of three are one; the second centroid must be the third point's place.
  x = jnp.array([[0.0, 0], [0, 0], [5, 5]])
  for seed in range(8):
    start = np.asarray(kmeans.start(jax.random.key(seed), x, 2))
    assert sorted(start[:, 0]) == [0, 5]
  line = jnp.array([[0.0], [1.0], [3.0]])
  second = jax.vmap(lambda key: kmeans.start(key, line, 2))(
    jax.random.split(jax.random.key(0), 4000)
  )[:, :, 0]
  from_zero = second[second[:, 0] == 0][:, 1]
  np.testing.assert_allclose((from_zero == 3).mean(), 0.9, atol=0.03)


def test_empty_clusters_move_to_the_farthest_points():
  x = jnp.array([[0.0], [0.1], [10.0], [20.0]])
  far_off = jnp.array([[0.0], [1e3], [2e3], [3e3]])
  mesh = jax.sharding.Mesh(np.array(jax.devices()), "data")
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  sharded = jax.device_put(jnp.pad(x, ((0, 4), (0, 0)), constant_values=50), rows)
  for points in (x, sharded):
    got = kmeans.lloyd(points, far_off, 20, 4)
    assert got.inertia < 1e-8
    np.testing.assert_allclose(np.sort(got.centroid_VxD[:, 0]), x[:, 0])


def test_too_few_points_and_bad_features_are_named():
  with pytest.raises(ValueError, match="at least num_clusters = 5 points, got 3"):
    kmeans.fit(jax.random.key(0), jnp.zeros((3, 2)), 5)
  fit = functools.partial(tokenizer.fit, jax.random.key(0), MFCC, num_tokens=2)
  with pytest.raises(ValueError, match="features_list is empty"):
    fit([])
  with pytest.raises(ValueError, match=r"features_list\[1\] has a non-finite"):
    fit([np.zeros((4, 26)), np.full((4, 26), np.nan)])
  with pytest.raises(ValueError, match="num_coefs must be in 1..num_mels"):
    Mfcc(16_000, 320, num_coefs=50)


def test_fit_is_deterministic_and_takes_a_bounded_choice_of_frames():
  frames = [_blobs(200, 4, seed) for seed in range(3)]
  fit = functools.partial(tokenizer.fit, features=MFCC, features_list=frames)
  once, again = (fit(jax.random.key(1), num_tokens=9, max_frames=150) for _ in "ab")
  np.testing.assert_array_equal(once.centroid_VxD, again.centroid_VxD)
  other = fit(jax.random.key(2), num_tokens=9, max_frames=150)
  assert np.abs(once.centroid_VxD - other.centroid_VxD).max() > 0


def test_files_have_the_same_bytes_and_load_to_the_same_tokens(tmp_path):
  rng = np.random.default_rng(0)
  fitted = tokenizer.SemanticTokenizer(
    Mfcc(8000, 160, num_coefs=7), rng.normal(size=(5, 14)).astype(np.float32)
  )
  paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
  for path in paths:
    fitted.save(path)
  assert paths[0].read_bytes() == paths[1].read_bytes()
  assert sorted(p.name for p in tmp_path.iterdir()) == [p.name for p in paths]
  loaded = tokenizer.SemanticTokenizer.load(paths[0])
  assert loaded.features == fitted.features
  assert (loaded.num_tokens, loaded.hop) == (5, 160)
  audio, length = _voices(1000), jnp.array([1000, 700])
  want, got = (one.encode(audio, length) for one in (fitted, loaded))
  np.testing.assert_array_equal(want, got)


def test_a_wrong_file_is_named(tmp_path):
  path = tmp_path / "semantic.safetensors"
  safetensors.numpy.save_file({"x": np.zeros(3)}, path)
  for data in (path.read_bytes(), b"nonsense", b""):
    path.write_bytes(data)
    with pytest.raises(ValueError, match="semantic.safetensors: not a semantic"):
      tokenizer.SemanticTokenizer.load(path)
  with pytest.raises(FileNotFoundError, match="absent"):
    tokenizer.SemanticTokenizer.load(tmp_path / "absent.safetensors")
