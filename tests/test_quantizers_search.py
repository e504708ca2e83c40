"""The search of the residual quantiser, against trying all combinations of codes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxcodec.parallel import sharding
from jaxcodec.quantizers import residual, search
from jaxcodec.quantizers.euclidean import EmaRVQ

B, T, D, K, V = 8, 13, 3, 3, 4
rng = np.random.default_rng(0)
Z = rng.standard_normal((B, T, D)).astype(np.float32)
BOOKS = [(rng.standard_normal((V, D)) / (k + 1)).astype(np.float32) for k in range(K)]
QUANTIZER = EmaRVQ(D, K, V, search=4)


def _error(codes_BxTxK):
  found = sum(book[codes_BxTxK[..., k]] for k, book in enumerate(BOOKS))
  return np.sum((Z - found) ** 2, -1)


@functools.partial(jax.jit, static_argnums=1)
def _best(z, paths):
  return search.best_codes(z, BOOKS, paths)


def test_enough_paths_find_the_best_combination():
  every = np.array(list(itertools.product(range(V), repeat=K)))
  sums = sum(book[every[:, k]] for k, book in enumerate(BOOKS))
  distance = np.sum((Z[:, :, None] - sums) ** 2, -1)
  codes = np.asarray(_best(Z, V ** (K - 1)))
  np.testing.assert_array_equal(codes, every[distance.argmin(-1)])


def test_one_path_is_greedy_and_more_are_nearer():
  residual, greedy = Z, []
  for book in BOOKS:
    distance = np.sum((residual[:, :, None] - book) ** 2, -1)
    greedy.append(distance.argmin(-1))
    residual = residual - book[greedy[-1]]
  np.testing.assert_array_equal(_best(Z, 1), np.stack(greedy, -1))
  errors = [_error(np.asarray(_best(Z, paths))).mean() for paths in (1, 2, 4, 16)]
  assert errors == sorted(errors, reverse=True) and errors[-1] < 0.95 * errors[0]


def test_pieces_give_the_same_as_all_frames_at_once(monkeypatch):
  whole = _best(Z, 4)
  numbers = B * 4 * V * 5  # of five frames, of which there are three pieces
  monkeypatch.setattr(residual.ops, "score_numbers", lambda: numbers)
  np.testing.assert_array_equal(search.best_codes(Z, BOOKS, 4), whole)


def test_each_device_searches_its_rows():
  mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
  with sharding.use_mesh(mesh):
    z = jax.device_put(Z, jax.NamedSharding(mesh, P("data")))
    codes = _best(z, 4)
  np.testing.assert_array_equal(codes, _best(Z, 4))


def test_the_quantiser_searches_but_in_training():
  init = jax.jit(QUANTIZER.init)(jax.random.key(0), Z)
  variables = jax.tree.map(lambda x: x, init)
  for k, book in enumerate(BOOKS):
    variables["vq_stats"][f"layers_{k}"] |= {"embed": book, "inited": jnp.ones(1)}

  @jax.jit
  def run(variables, z):
    found = QUANTIZER.apply(variables, z)
    codes = QUANTIZER.apply(variables, z, method="encode")
    two = QUANTIZER.apply(variables, z, num_codebooks=2, method="encode")
    trained, _ = QUANTIZER.apply(
      variables,
      z,
      train=True,
      rngs={"quantizer": jax.random.key(1)},
      mutable=["vq_stats"],
    )
    return found, codes, two, trained.codes_BxTxK

  found, codes, two, trained = run(variables, Z)
  np.testing.assert_array_equal(codes, _best(Z, 4))
  np.testing.assert_array_equal(found.codes_BxTxK, codes)
  np.testing.assert_array_equal(two, search.best_codes(Z, BOOKS[:2], 4))
  np.testing.assert_array_equal(trained, _best(Z, 1))
  # The mean over levels of what they leave, as the greedy choice has it.
  left, expected = Z, 0
  for k, book in enumerate(BOOKS):
    left = left - book[codes[..., k]]
    expected = expected + np.mean(left**2) / K
  np.testing.assert_allclose(found.losses["commitment"], expected, rtol=1e-5)


def test_a_projected_first_codebook_is_not_searched_and_the_others_are():
  """With the projection to channel 1, codebook 0 is chosen by that channel alone."""
  quantizer = EmaRVQ(D, K, V, search=4, first_dim=1)
  variables = jax.jit(quantizer.init)(jax.random.key(0), Z)
  for k, book in enumerate(BOOKS):
    variables["vq_stats"][f"layers_{k}"] |= {"embed": book, "inited": jnp.ones(1)}
  np.testing.assert_array_equal(
    variables["vq_stats"]["layers_0"]["projection"], [[1], [0], [0]]
  )
  variables["vq_stats"]["layers_0"]["projection"] = jnp.eye(D)[:, 1:2]
  encode = jax.jit(lambda z: quantizer.apply(variables, z, method="encode"))
  codes = np.asarray(encode(Z))
  first = np.abs(Z[..., 1:2] - BOOKS[0][:, 1]).argmin(-1)
  np.testing.assert_array_equal(codes[..., 0], first)
  others = search.best_codes(Z - BOOKS[0][first], BOOKS[1:], 4)
  np.testing.assert_array_equal(codes[..., 1:], others)


@pytest.mark.parametrize("dim", [0, D + 1])
def test_a_projection_to_too_few_or_many_channels_is_an_error(dim):
  with pytest.raises(ValueError, match=f"first_dim must be 1 to {D}, got {dim}"):
    EmaRVQ(D, K, V, first_dim=dim)


def test_no_paths_are_an_error():
  with pytest.raises(ValueError, match="search must be positive, got 0"):
    EmaRVQ(D, K, V, search=0)
