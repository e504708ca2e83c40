"""Our EMA residual quantiser against encodec's, on random codebooks."""

import jax
import numpy as np
import originals
import pytest

from jaxcodec.quantizers import ema
from jaxcodec.quantizers.euclidean import EmaRVQ

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

B, T, D, K, V, STEPS = 4, 80, 8, 3, 16, 20
OURS = EmaRVQ(D, K, V, threshold_ema_dead_code=0.0)


@pytest.fixture
def pair():
  """Returns the original, which keeps dead codes, and our variables of its values."""
  originals.encodec()
  from encodec.quantization.core_vq import ResidualVectorQuantization

  theirs = ResidualVectorQuantization(
    num_quantizers=K, dim=D, codebook_size=V, threshold_ema_dead_code=0
  )
  torch.manual_seed(0)
  for layer in theirs.layers:
    book = layer._codebook
    book.embed.normal_(std=0.1)
    book.cluster_size.uniform_(1, 20)
    book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
    book.inited.fill_(1)
  return theirs, {"vq_stats": {f"layers_{k}": _book(theirs, k) for k in range(K)}}


def _book(theirs, k):
  # Copies: the original goes on in place.
  state = originals.state(theirs.layers[k]._codebook)
  return {name: np.copy(state[name]) for name in ema.Codebook._fields}


def _close(ours, theirs, tolerance=1e-5):
  assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("books", range(1, K + 1))
def test_same_codes_and_latent(pair, books):
  theirs, variables = pair
  theirs.eval()
  z = originals.noise(B, T, D)
  codes = theirs.encode(torch.tensor(z).mT, books)

  @jax.jit
  def both(variables, z):
    ours = OURS.apply(variables, z, num_codebooks=books, method="encode")
    return ours, OURS.apply(variables, ours, method="decode")

  ours, latent = both(variables, z)
  assert len(np.unique(codes)) > V // 2
  np.testing.assert_array_equal(ours, codes.permute(1, 2, 0))
  _close(latent, theirs.decode(codes).mT.numpy())


def test_same_codebooks_and_commitment_after_twenty_steps(pair):
  theirs, variables = pair
  theirs.train()

  @jax.jit
  def step(variables, z, key):
    return OURS.apply(
      variables, z, train=True, mutable=["vq_stats"], rngs={"quantizer": key}
    )

  for number in range(STEPS):
    z = originals.noise(B, T, D, seed=number)
    output, codes, losses = theirs(torch.tensor(z).mT)
    quantized, variables = step(variables, z, jax.random.key(number))
    np.testing.assert_array_equal(quantized.codes_BxTxK, codes.permute(1, 2, 0))
    _close(quantized.z_BxTxD, output.detach().mT.numpy())
    _close(quantized.losses["commitment"], losses.detach().mean().numpy())
  for k in range(K):
    for name, expected in _book(theirs, k).items():
      _close(variables["vq_stats"][f"layers_{k}"][name], expected)


def test_same_gradients(pair):
  """Compares with audiocraft's form of the stack, written out on the same codebooks."""
  theirs, variables = pair
  z = originals.noise(B, T, D)
  x = torch.tensor(z, requires_grad=True)
  residual, total, commitment = x, 0.0, 0.0
  for layer in theirs.layers:
    chosen = layer.decode(layer.encode(residual.mT)).mT.detach()
    commitment = commitment + ((residual - chosen) ** 2).mean() / K
    residual, total = residual - chosen, total + chosen
  output = x + (total - x).detach()
  ((output**2).sum() + 100 * commitment).backward()

  def loss(z):
    quantized = OURS.apply(variables, z)
    return (quantized.z_BxTxD**2).sum() + 100 * quantized.losses["commitment"]

  _close(jax.jit(jax.grad(loss))(z), x.grad.numpy())


def test_same_kmeans(pair, monkeypatch):
  """Starts both from the first vectors as means."""
  from encodec.quantization import core_vq

  monkeypatch.setattr(core_vq, "sample_vectors", lambda samples, num: samples[:num])
  x = originals.noise(300, D)
  expected, counts = core_vq.kmeans(torch.tensor(x), V, 10)
  means, our_counts = jax.jit(ema.kmeans, static_argnums=3)(x, np.ones(300), x[:V], 10)
  np.testing.assert_array_equal(our_counts, counts)
  _close(means, expected.numpy())
