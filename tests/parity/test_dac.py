"""Our DAC against the original, on random weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import originals
import pytest

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.shapes import fold_for_inference
from jaxcodec.nn.cpu import toom_cook
from jaxcodec.porting import dac as tables
from jaxcodec.porting.table import to_flax
from jaxcodec.quantizers.factorized import FactorizedRVQ

torch = pytest.importorskip("torch")
pytestmark = [
  pytest.mark.parity,
  pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
]

K, V, D, HOP = 4, 64, 32, 10


@pytest.fixture(scope="module")
def pair():
  """Returns the original and our codec with the same weights."""
  originals.dac()
  from dac.model.dac import DAC

  torch.manual_seed(0)
  theirs = DAC(
    encoder_dim=8,
    encoder_rates=[2, 5],
    decoder_dim=32,
    decoder_rates=[5, 2],
    n_codebooks=K,
    codebook_size=V,
    sample_rate=16_000,
  )
  ours = Codec(
    DacEncoder(8, (2, 5)),
    FactorizedRVQ(D, K, V),
    DacDecoder(32, (5, 2), exact=False),
    16_000,
  )
  shapes = jax.eval_shape(ours.init, jax.random.key(0), jnp.zeros((1, 40, 1)))
  return theirs, ours, to_flax(originals.state(theirs), tables.CODEC, shapes)


@pytest.mark.parametrize("N,books", [(1200, K), (1201, 1), (1777, 3)])
@pytest.mark.parametrize("folded", [False, True])
def test_same_codes_and_audio(pair, N, books, folded, monkeypatch):
  theirs, ours, variables = pair
  if folded:
    monkeypatch.setattr(toom_cook, "_LEAST", 8)  # also layers as narrow as these
    variables = {"params": fold_for_inference(ours, variables["params"])}
    assert "products" in variables["params"]["decoder"]["model_1"]["block_2"]["block_1"]
  x = originals.noise(2, N)
  padded = torch.nn.functional.pad(torch.tensor(x)[:, None], (0, -N % HOP))
  theirs.eval()
  with torch.no_grad():
    z, codes, *_ = theirs.encode(padded, books)
    y = theirs.decode(z).numpy()[:, 0]
  encode = functools.partial(ours.apply, num_codebooks=books, method="encode")
  tokens = jax.jit(encode)(variables, x[..., None])
  assert len(np.unique(codes)) > V // 8
  np.testing.assert_array_equal(tokens.to_bkt(), codes)
  decode = functools.partial(ours.apply, method="decode")
  audio = jax.jit(decode)(variables, tokens)[..., 0]
  assert np.abs(audio - y).max() <= 1e-5 * np.abs(y).max()


def test_same_gradients_of_a_generator_step(pair):
  theirs, ours, variables = pair
  x = originals.noise(2, 1200)
  theirs.eval()  # without quantiser dropout, which draws at random
  theirs.zero_grad()
  out = theirs(torch.tensor(x)[:, None])
  y = out["audio"][:, 0]
  target = torch.tensor(x)[:, : y.shape[1]]
  loss = ((y - target) ** 2).mean() + out["vq/codebook_loss"]
  (loss + 0.25 * out["vq/commitment_loss"]).backward()

  def total(params):
    y, quantized = ours.apply({"params": params}, x[..., None])
    mse = ((y[..., 0] - x[:, : y.shape[1]]) ** 2).mean()
    return mse + quantized.losses["codebook"] + 0.25 * quantized.losses["commitment"]

  grads = jax.jit(jax.grad(total))(variables["params"])
  theirs_grads = {k: p.grad.numpy() for k, p in theirs.named_parameters()}
  expected = to_flax(theirs_grads, tables.CODEC, variables)["params"]
  for path, our_leaf in jax.tree_util.tree_leaves_with_path(grads):
    node = expected
    for key in path:
      node = node[key.key]
    largest = np.abs(node).max()
    assert np.abs(our_leaf - node).max() <= 1e-4 * largest, jax.tree_util.keystr(path)
