import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.quantizers import codebook
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.types import Tokens

HOP, K, V, D = 10, 3, 16, 8


def _codec(dropout=0.0):
  encoder = DacEncoder(2, (2, 5), latent_dim=D)
  quantizer = FactorizedRVQ(D, K, V, 4, dropout)
  return Codec(encoder, quantizer, DacDecoder(8, (5, 2)), 1000)


@pytest.fixture(scope="module")
def codec_and_variables():
  codec = _codec()
  variables = jax.jit(codec.init)(jax.random.key(0), jnp.zeros((1, 40, 1)))
  # Untrained Snakes and codes are too alike for a test: spread them.
  return codec, jax.tree.map(lambda x: x * 1.5, variables)


def test_spec(codec_and_variables):
  spec = codec_and_variables[0].spec
  assert (spec.num_codebooks, spec.codebook_size, spec.hop) == (K, V, HOP)


@pytest.mark.parametrize("N", [1, HOP, 37])
def test_shapes(N):
  codec = _codec()
  variables = jax.eval_shape(codec.init, jax.random.key(0), jnp.zeros((1, 40, 1)))
  x = jax.ShapeDtypeStruct((2, N, 1), jnp.float32)

  def round_trip(variables, x):
    y, quantized = codec.apply(variables, x)
    tokens = codec.apply(variables, x, method="encode")
    return y, quantized, tokens, codec.apply(variables, tokens, method="decode")

  y, quantized, tokens, decoded = jax.eval_shape(round_trip, variables, x)
  T = -(-N // HOP)
  assert y.shape == x.shape and decoded.shape == (2, T * HOP, 1)
  assert tokens.codes_BxTxK.shape == (2, T, K) and tokens.mask_BxT.shape == (2, T)
  assert tokens.codes_BxTxK.dtype == jnp.int32
  assert quantized.z_BxTxD.shape == (2, T, D)


def test_a_padded_batch_gives_each_item_as_if_alone(codec_and_variables):
  codec, variables = codec_and_variables
  x = np.random.default_rng(0).standard_normal((3, 95, 1)).astype(np.float32)
  lengths = [95, 41, 10]
  for row, length in zip(x, lengths, strict=True):
    row[length:] = np.nan
  encode = jax.jit(lambda *a: codec.apply(variables, *a, method="encode"))
  decode = jax.jit(lambda t: codec.apply(variables, t, method="decode"))
  tokens = encode(x, jnp.array(lengths))
  audio = decode(tokens)
  assert len(np.unique(tokens.codes_BxTxK)) > V // 2
  assert np.isfinite(audio).all()
  for row, length in enumerate(lengths):
    frames = -(-length // HOP)
    alone = encode(x[row : row + 1, :length], jnp.array([length]))
    assert tokens.mask_BxT[row].sum() == frames
    np.testing.assert_array_equal(
      tokens.codes_BxTxK[row, :frames], alone.codes_BxTxK[0]
    )
    expected = decode(alone)[0]
    # Another length is another order of summation: rounding, no more.
    np.testing.assert_allclose(audio[row, : frames * HOP], expected, atol=1e-5)
    assert not audio[row, frames * HOP :].any()


def test_fewer_codebooks_are_a_prefix(codec_and_variables):
  codec, variables = codec_and_variables
  x = np.random.default_rng(1).standard_normal((1, 50, 1)).astype(np.float32)
  all_of_them, two = (
    codec.apply(variables, x, num_codebooks=n, method="encode") for n in (None, 2)
  )
  np.testing.assert_array_equal(all_of_them.codes_BxTxK[..., :2], two.codes_BxTxK)
  assert codec.apply(variables, two, method="decode").shape == (1, 50, 1)


@pytest.mark.parametrize("books", [0, K + 1])
def test_an_impossible_number_of_codebooks_is_an_error(codec_and_variables, books):
  codec, variables = codec_and_variables
  with pytest.raises(ValueError, match=f"num_codebooks must be 1 to {K}"):
    codec.apply(variables, jnp.zeros((1, 40, 1)), num_codebooks=books)


def test_decoding_what_was_encoded_is_the_reconstruction(codec_and_variables):
  codec, variables = codec_and_variables
  x = np.random.default_rng(2).standard_normal((2, 60, 1)).astype(np.float32)
  y, quantized = codec.apply(variables, x)
  tokens = Tokens(quantized.codes_BxTxK, jnp.ones((2, 6), bool))
  np.testing.assert_allclose(
    codec.apply(variables, tokens, method="decode"), y, atol=1e-5
  )


def test_quantizer_dropout_drops_the_last_codebooks_of_half_the_items():
  quantizer = FactorizedRVQ(D, K, V, 4, dropout=0.5)
  z = jnp.asarray(np.random.default_rng(0).standard_normal((8, 5, D)), jnp.float32)
  variables = quantizer.init(jax.random.key(0), z)
  rngs = {"quantizer": jax.random.key(1)}
  trained = quantizer.apply(variables, z, train=True, rngs=rngs).z_BxTxD
  coarse = [quantizer.apply(variables, z, num_codebooks=n).z_BxTxD for n in (1, 2, 3)]
  used = [
    [n for n, c in enumerate(coarse, 1) if np.allclose(trained[b], c[b], atol=1e-6)]
    for b in range(8)
  ]
  assert all(len(n) == 1 for n in used)
  assert all(n == [K] for n in used[4:])
  assert any(n != [K] for n in used[:4])


def test_straight_through_gradient_reaches_the_latent():
  quantizer = FactorizedRVQ(D, K, V, 4)
  z = jnp.asarray(np.random.default_rng(0).standard_normal((1, 5, D)), jnp.float32)
  variables = quantizer.init(jax.random.key(0), z)
  grad = jax.grad(lambda z: (quantizer.apply(variables, z).z_BxTxD ** 2).sum())(z)
  assert np.isfinite(grad).all() and np.abs(grad).max() > 0


def test_counts_usage_and_perplexity():
  codes = jnp.array([[[0, 2], [1, 2], [0, 2], [1, 2]]])  # (1, 4, 2)
  mask = jnp.array([[True, True, True, False]])
  counts = codebook.code_counts(codes, 4, mask)
  np.testing.assert_array_equal(counts, [[2, 1, 0, 0], [0, 0, 3, 0]])
  full = codebook.code_counts(codes, 4)
  np.testing.assert_allclose(codebook.perplexity(full), [2.0, 1.0], rtol=1e-6)
  np.testing.assert_allclose(codebook.usage(full), [0.5, 0.25])
