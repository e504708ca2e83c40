"""Our Vocos against the original, on random weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import originals
import pytest

from jaxcodec.codecs.vocoder import MelFeatures, Vocoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.porting import vocos as tables
from jaxcodec.porting.table import to_flax, to_torch

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

WIDTH, MLP, DEPTH, N_FFT, HOP, MELS, RATE = 24, 40, 2, 64, 16, 8, 8_000
BOOKS = (2, 4, 8, 16)


def _original(features, inputs, padding, conditions=None):
  """Makes the original's backbone and head, with all weights of order one."""
  from vocos.heads import ISTFTHead
  from vocos.models import VocosBackbone
  from vocos.pretrained import Vocos

  torch.manual_seed(0)
  backbone = VocosBackbone(inputs, WIDTH, MLP, DEPTH, adanorm_num_embeddings=conditions)
  model = Vocos(features, backbone, ISTFTHead(WIDTH, N_FFT, HOP, padding))
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.3 * torch.randn_like(parameter))
  return model.eval()


@pytest.fixture(scope="module", params=["center", "same"])
def vocoders(request):
  """Returns the original and our vocoder with the same weights."""
  originals.vocos()
  from vocos.feature_extractors import MelSpectrogramFeatures

  settings = dict(sample_rate=RATE, n_fft=N_FFT, n_mels=MELS, padding=request.param)
  features = MelSpectrogramFeatures(hop_length=HOP, **settings)
  theirs = _original(features, MELS, request.param)
  decoder = VocosDecoder(WIDTH, MLP, DEPTH, N_FFT, HOP, request.param)
  ours = Vocoder(MelFeatures(hop=HOP, **settings), decoder)
  shapes = jax.eval_shape(ours.init, jax.random.key(0), jnp.zeros((1, 80)))
  state = originals.state(theirs)
  return theirs, ours, to_flax(state, tables.VOCODER, shapes)


@pytest.fixture(scope="module")
def conditioned():
  """Returns the original and our decoder of tokens, with a norm for each bandwidth."""
  originals.vocos()
  theirs = _original(torch.nn.Identity(), 12, "same", len(BOOKS))
  settings = dict(padding="same", bandwidth_codebooks=BOOKS)
  ours = VocosDecoder(WIDTH, MLP, DEPTH, N_FFT, HOP, **settings)
  shapes = jax.eval_shape(ours.init, jax.random.key(0), jnp.zeros((1, 5, 12)))
  nested = {"params": {"decoder": shapes["params"]}}
  params = to_flax(originals.state(theirs), tables.DECODER, nested)
  return theirs, ours, {"params": params["params"]["decoder"]}


def _close(ours, theirs, tolerance=1e-5):
  assert ours.shape == theirs.shape
  assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("N", [160, 1003])
def test_same_features_and_copy(vocoders, N):
  theirs, ours, variables = vocoders
  x = originals.noise(2, N)
  x[1, N // 3 :] = 0  # digital silence is clipped
  features = theirs.feature_extractor(torch.tensor(x)).numpy().transpose(0, 2, 1)
  both = jax.jit(lambda v, x: (ours.mel(x), ours.apply(v, x)))
  our_features, audio = both(variables, x)
  assert (features == features.min()).sum() > MELS
  _close(our_features, features)
  _close(audio, theirs(torch.tensor(x)).numpy())


@pytest.mark.parametrize("row,T", [(0, 40), (1, 7), (2, 1), (3, 40)])
def test_same_audio_at_every_bandwidth(conditioned, row, T):
  theirs, ours, variables = conditioned
  z = originals.noise(2, T, 12, scale=1.0)
  given = torch.tensor(z).transpose(1, 2)
  expected = theirs.decode(given, bandwidth_id=torch.tensor([row])).numpy()
  decode = functools.partial(ours.apply, num_codebooks=BOOKS[row])
  _close(jax.jit(decode)(variables, z)[..., 0], expected)


def test_same_gradients_of_a_generator_step(conditioned):
  theirs, ours, variables = conditioned
  z, target = originals.noise(2, 12, 12, scale=1.0), originals.noise(2, 12 * HOP)
  theirs.zero_grad()
  given = torch.tensor(z).transpose(1, 2).requires_grad_()
  hidden = theirs.backbone(given, bandwidth_id=torch.tensor([1]))
  ((theirs.head(hidden) - torch.tensor(target)) ** 2).mean().backward()

  def loss(variables, z):
    y = ours.apply(variables, z, num_codebooks=BOOKS[1])[..., 0]
    return ((y - target) ** 2).mean()

  grads, dz = jax.jit(jax.grad(loss, (0, 1)))(variables, z)
  grads = to_torch({"params": {"decoder": grads["params"]}}, tables.DECODER)
  expected = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
  assert grads.keys() == expected.keys()
  _close(dz, given.grad.numpy().transpose(0, 2, 1), 1e-4)
  for name, grad in grads.items():
    _close(grad, expected[name], 1e-4)


def test_weights_go_back_as_they_came(vocoders):
  theirs, ours, variables = vocoders
  state = to_torch(variables, tables.VOCODER)
  mel = dict(sample_rate=RATE, n_fft=N_FFT, n_mels=MELS)
  buffers = tables.compute_buffers(N_FFT, mel)
  expected = originals.state(theirs)
  assert expected.keys() == {**state, **buffers}.keys()
  for name, array in state.items():
    np.testing.assert_array_equal(array, expected[name], err_msg=name)
  for name, array in buffers.items():
    np.testing.assert_allclose(array, expected[name], atol=1e-5, err_msg=name)
