"""Our EnCodec against the original, on random weights.

Two small models like those at 24 kHz (causal, weight norm, LSTM) and at 48 kHz (stereo,
group norm, normalised overlapping segments).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import originals
import pytest

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.segments import Segments
from jaxcodec.nn.lstm import ResidualLstm
from jaxcodec.porting import encodec as tables
from jaxcodec.porting.table import to_flax, to_torch
from jaxcodec.quantizers.euclidean import EmaRVQ

torch = pytest.importorskip("torch")
pytestmark = [
  pytest.mark.parity,
  pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
]

K, V, D, RATE, HOP = 4, 16, 12, 1000, 6
# At 48 kHz too, the stride is not a whole number of frames; with 287 samples the first
# of two segments is a frame short.
SEGMENTS = Segments(300, 285)
_FAST = {"xla_backend_optimization_level": 0}  # to compile, not to run
LENGTHS = (601, 588, 287, 120, 4, 1)


@dataclasses.dataclass(frozen=True)
class Pair:
  theirs: Any
  ours: Codec
  variables: Any


def _originals(channels, **kwargs):
  originals.encodec()
  from encodec import EncodecModel
  from encodec.modules import SEANetDecoder, SEANetEncoder
  from encodec.quantization import ResidualVectorQuantizer

  sizes = dict(channels=channels, dimension=D, n_filters=4, ratios=[3, 2], **kwargs)
  segmented = dict(normalize=True, segment=0.3, overlap=0.05) if channels == 2 else {}
  torch.manual_seed(0)
  model = EncodecModel(
    SEANetEncoder(**sizes),
    SEANetDecoder(**sizes),
    ResidualVectorQuantizer(D, K, V),
    [],
    RATE,
    channels,
    **segmented,
  )
  for name, value in model.named_parameters():
    if value.ndim == 1 and "lstm" not in name:
      torch.nn.init.normal_(value, 1.0 if name.endswith("weight") else 0.0, 0.2)
  _spread_codebooks(model, torch.randn(1, channels, 300) * (0.1, 1)[model.normalize])
  return model.eval()


@torch.no_grad()
def _spread_codebooks(model, x):
  """Makes codebooks without unused codes: frames of `x`, then ever smaller noise."""
  z_TxD = model.encoder(x)[0].T
  for k, layer in enumerate(model.quantizer.vq.layers):
    noise = torch.randn(V, D) * z_TxD.std(0) * 0.6**k
    layer._codebook.embed.copy_(noise if k else z_TxD[torch.randperm(len(z_TxD))[:V]])
    layer._codebook.inited.fill_(1)


@pytest.fixture(scope="module", params=["mono", "stereo"])
def pair(request):
  """Returns the original and our codec with the same weights."""
  if request.param == "mono":
    theirs = _originals(1, causal=True)
    style, options = {}, ()
  else:
    theirs = _originals(2, norm="time_group_norm", lstm=1)
    style = dict(channels=2, norm="time_group_norm", causal=False, lstm_layers=1)
    options = SEGMENTS, True
  ours = Codec(
    SeanetEncoder(4, (2, 3), latent_dim=D, **style),
    EmaRVQ(D, K, V),
    SeanetDecoder(16, (3, 2), **style),
    RATE,
    *options,
  )
  silence = jnp.zeros((1, HOP, ours.num_channels))
  shapes = jax.eval_shape(ours.init, jax.random.key(0), silence)
  return Pair(theirs, ours, to_flax(originals.state(theirs), tables.CODEC, shapes))


def _encoded(theirs, x_NxC, books):
  """Encodes an item by the original; returns (codes (K, T), gain) of each segment."""
  theirs.bandwidth = (books + 0.5) * theirs.bits_per_codebook * theirs.frame_rate / 1000
  return theirs.encode(torch.tensor(x_NxC.T[None]))


def test_a_padded_batch_has_the_originals_codes_and_audio(pair):
  theirs, ours, variables = pair.theirs, pair.ours, pair.variables
  x = originals.noise(len(LENGTHS), max(LENGTHS), ours.num_channels)
  for row, length in zip(x, LENGTHS, strict=True):
    row[length:] = np.nan

  @jax.jit
  def round_trip(x, length_B):
    tokens = ours.apply(variables, x, length_B, method="encode")
    return tokens, ours.apply(variables, tokens, method="decode")

  tokens, audio = round_trip(x, np.array(LENGTHS))
  assert len(np.unique(tokens.codes_BxTxK)) > V // 2
  for row, length in enumerate(LENGTHS):
    valid_T = np.asarray(tokens.mask_BxT[row])
    assert not valid_T[ours.num_frames(length) :].any()
    for books in range(1, K + 1):
      with torch.no_grad():
        frames = _encoded(theirs, x[row, :length], books)
      expected = np.concatenate([codes[0].numpy().T for codes, _ in frames])
      codes = np.asarray(tokens.codes_BxTxK[row])[valid_T, :books]
      np.testing.assert_array_equal(codes, expected)
    with torch.no_grad():
      y = theirs.decode(frames)[0].numpy().T
    assert np.abs(audio[row, : len(y)] - y).max() <= 1e-5 * np.abs(y).max()
    assert not audio[row, len(y) :].any()


@pytest.mark.parametrize("length", (450, 287))
def test_a_clip_without_padding_has_them_too(pair, length):
  theirs, ours, variables = pair.theirs, pair.ours, pair.variables
  x = originals.noise(1, length, ours.num_channels)

  @functools.partial(jax.jit, compiler_options=_FAST)
  def round_trip(x):
    tokens = ours.apply(variables, x, method="encode")
    return tokens, ours.apply(variables, tokens, method="decode")

  tokens, audio = round_trip(x)
  with torch.no_grad():
    frames = _encoded(theirs, x[0], K)
    y = theirs.decode(frames)[0].numpy().T
  expected = np.concatenate([codes[0].numpy().T for codes, _ in frames])
  codes = np.asarray(tokens.codes_BxTxK[0])[np.asarray(tokens.mask_BxT[0])]
  np.testing.assert_array_equal(codes, expected)
  assert np.abs(audio[0, : len(y)] - y).max() <= 1e-5 * np.abs(y).max()


def test_same_latent_and_gradients_of_a_generator_step(pair):
  theirs, ours, variables = pair.theirs, pair.ours, pair.variables
  x = originals.noise(2, 120, ours.num_channels)
  theirs.zero_grad()
  target = torch.tensor(x).transpose(1, 2)
  scale = 1e-8 + target.mean(1, keepdim=True).pow(2).mean(2, keepdim=True).sqrt()
  scale = scale if theirs.normalize else torch.ones(())
  z = residual = theirs.encoder(target / scale)
  latent, commitment = 0, 0
  for layer in theirs.quantizer.vq.layers:
    chosen = layer.decode(layer.encode(residual)).detach()
    commitment = commitment + ((residual - chosen) ** 2).mean() / K
    latent, residual = latent + chosen, residual - chosen
  y = theirs.decoder(z + (latent - z).detach()) * scale
  (((y - target) ** 2).mean() + 0.25 * commitment).backward()

  def total(params):
    y, quantized = ours.apply({**variables, "params": params}, x)
    return ((y - x) ** 2).mean() + 0.25 * quantized.losses["commitment"], quantized

  gradient = jax.jit(jax.grad(total, has_aux=True), compiler_options=_FAST)
  grads, quantized = gradient(variables["params"])
  latent = latent.numpy().transpose(0, 2, 1)
  assert np.abs(quantized.z_BxTxD - latent).max() <= 1e-5 * np.abs(latent).max()
  theirs_grads = {k: p.grad.numpy() for k, p in theirs.named_parameters()}
  shapes = {"params": variables["params"]}
  expected = to_flax(theirs_grads, tables.CODEC, shapes)["params"]

  def compare(path, ours, theirs):
    largest = np.abs(theirs).max()
    assert np.abs(ours - theirs).max() <= 1e-4 * largest, jax.tree_util.keystr(path)

  jax.tree_util.tree_map_with_path(compare, grads, expected)


def test_weights_go_back_bit_equal(pair):
  state = to_torch(pair.variables, tables.CODEC)
  expected = originals.state(pair.theirs)
  assert state.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_array_equal(state[name], value)


def test_lstm_and_its_gradients():
  theirs = torch.nn.LSTM(5, 5, 2)
  x = originals.noise(3, 7, 5, scale=1.0)  # (B, T, D)
  x_torch = torch.tensor(x, requires_grad=True)
  h = theirs(x_torch.transpose(0, 1))[0].transpose(0, 1) + x_torch
  (h**2).sum().backward()
  ours = ResidualLstm(2)

  def tree(get):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {
      f"layers_{i}": {name: get(getattr(theirs, f"{name}_l{i}")) for name in names}
      for i in range(2)
    }

  @jax.jit
  def both(params, x):
    y, pullback = jax.vjp(lambda p, x: ours.apply({"params": p}, x), params, x)
    return y, *pullback(2 * y)

  y, d_params, d_x = both(tree(lambda p: p.detach().numpy()), x)
  np.testing.assert_allclose(y, h.detach(), atol=1e-6)
  np.testing.assert_allclose(d_x, x_torch.grad, rtol=1e-4, atol=1e-5)
  expected = tree(lambda p: p.grad.numpy())
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    d_params,
    expected,
  )
