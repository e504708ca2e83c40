"""Convolutions of long inputs in windows give the result of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.magnitude import MagnitudeDecoder, MagnitudeEncoder
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.dry_run import collectives
from jaxcodec.nn import ops

pytestmark = pytest.mark.slow  # all of them together
WHOLE, SHORT = 2**40, 900  # numbers in a window
# Of a codec of magnitudes.
HALF = dict(width=6, mlp_width=8, depth=1, n_fft=40, hop=20, sub_hop=10)
ENCODERS = {
  "dac": DacEncoder(4, (5, 4)),
  "dac of one block": DacEncoder(4, (5,)),
  "seanet": SeanetEncoder(4, (4, 5), lstm_layers=0),
  "seanet with an LSTM": SeanetEncoder(4, (4, 5), lstm_layers=1),
  "seanet that looks ahead": SeanetEncoder(
    4, (4, 5), residual_layers=2, lstm_layers=0, causal=False, pad_mode="constant"
  ),
  "magnitude": MagnitudeEncoder(**HALF),
}
DECODERS = {
  "dac": DacDecoder(16, (4, 5)),
  "dac, a few samples short": DacDecoder(16, (5, 3), exact=False),
  "dac of one block": DacDecoder(8, (5,)),
  "seanet": SeanetDecoder(16, (5, 4), lstm_layers=0),
  "seanet with an LSTM": SeanetDecoder(16, (5, 4), lstm_layers=1),
  "seanet that looks ahead": SeanetDecoder(
    16, (5, 4), residual_layers=2, lstm_layers=0, causal=False
  ),
  "magnitude": MagnitudeDecoder(**HALF, iterations=4),
}


def variables(module, x):
  """Returns fresh variables with biases that are not zero."""
  noise = lambda a: a + 0.05 * jax.random.normal(jax.random.key(1), a.shape)  # noqa: E731
  return jax.tree.map(noise, jax.jit(module.init)(jax.random.key(0), x))


def case(module, frames, channels):
  x_BxTxC = np.random.default_rng(0).standard_normal((2, frames, channels), np.float32)
  return variables(module, x_BxTxC[:, : 8 * module.hop]), x_BxTxC


def run(monkeypatch, numbers, module, *args):
  monkeypatch.setattr(ops, "window_numbers", lambda n=numbers: n)
  return np.array(jax.jit(lambda *args: module.apply(*args))(*args))


def check(monkeypatch, module, v, x_BxTxC, rate):
  """Compares windows with the whole, for a full item and one that NaN follows."""
  T = x_BxTxC.shape[1]
  x_BxTxC[1, T // 3 :] = np.nan
  valid_B = np.array([T, T // 3])
  whole = run(monkeypatch, WHOLE, module, v, x_BxTxC, valid_B)
  near = 2e-5 * np.std(whole[0])
  pieces = run(monkeypatch, SHORT, module, v, x_BxTxC, valid_B)
  assert pieces.shape == whole.shape
  for item, valid in enumerate(valid_B):
    inside = slice(int(valid * rate))
    np.testing.assert_allclose(pieces[item, inside], whole[item, inside], 0, near)


def check_sight(monkeypatch, module, v, x_BxTxC):
  """Checks that NaN at a place reaches as many frames as in the whole."""
  if getattr(module, "lstm_layers", 0):
    return  # through which it reaches all that follows
  if isinstance(module, MagnitudeEncoder | MagnitudeDecoder):
    return  # in which NaN is a magnitude of 0
  places = np.arange(0, x_BxTxC.shape[1], 1 + x_BxTxC.shape[1] // 150)
  x_BxTxC = np.repeat(x_BxTxC[:1], len(places), 0)
  x_BxTxC[np.arange(len(places)), places] = np.nan
  whole = np.isnan(run(monkeypatch, WHOLE, module, v, x_BxTxC))
  assert whole.any((1, 2)).all() and not whole.all(1).any()
  pieces = np.isnan(run(monkeypatch, SHORT, module, v, x_BxTxC))
  np.testing.assert_array_equal(pieces, whole)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(monkeypatch, name):
  module = ENCODERS[name]
  v, x_BxNxC = case(module, module.hop * 111, 1)
  check_sight(monkeypatch, module, v, x_BxNxC)
  check(monkeypatch, module, v, x_BxNxC, 1 / module.hop)


@pytest.mark.parametrize("name", DECODERS)
def test_decoder(monkeypatch, name):
  module = DECODERS[name]
  v, z_BxTxD = case(module, 111, 8)
  check_sight(monkeypatch, module, v, z_BxTxD)
  # Where samples are missing, the whole has those of an item's last frame all the same.
  short = not getattr(module, "exact", True)
  check(monkeypatch, module, v, z_BxTxD, module.hop - short)


@pytest.mark.parametrize("name", ["dac", "seanet", "magnitude"])
@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_windows_are_used(monkeypatch, half, name):
  module = {"encoder": ENCODERS, "decoder": DECODERS}[half][name]
  shape = (111 * module.hop, 1) if half == "encoder" else (111, 8)
  v, x = case(module, *shape)
  loops = {}
  for numbers in (WHOLE, SHORT):
    monkeypatch.setattr(ops, "window_numbers", lambda n=numbers: n)
    loops[numbers] = str(jax.make_jaxpr(module.apply)(v, x)).count("scan[")
  assert loops[SHORT] > loops[WHOLE]


@pytest.mark.parametrize(
  "module",
  [ENCODERS["seanet"], DECODERS["dac"], ENCODERS["magnitude"]],
)
def test_devices_that_share_a_batch_send_nothing(monkeypatch, module):
  monkeypatch.setattr(ops, "window_numbers", lambda: SHORT)
  shape = (111, 8) if module in DECODERS.values() else (111 * module.hop, 1)
  x_BxTxC = jnp.ones((8, *shape))
  v = variables(module, x_BxTxC[:, : 8 * module.hop])
  mesh = Mesh(np.array(jax.devices()), ("data",))
  parts, whole = (NamedSharding(mesh, P(*axes)) for axes in (["data"], []))
  shared = jax.jit(module.apply, in_shardings=(whole, parts), out_shardings=parts)
  program = shared.lower(v, x_BxTxC).compile().as_text()
  assert " while(" in program and not collectives.collectives(program)


@pytest.mark.parametrize("kind", [SeanetEncoder, SeanetDecoder])
def test_norms_over_all_frames_see_them(monkeypatch, kind):
  """Uses five items of different lengths, in groups of two."""
  sizes = dict(width=8, strides=(4, 5), lstm_layers=1)
  module = kind(**sizes, norm="time_group_norm", causal=False)
  frames, channels = (400, 1) if kind is SeanetEncoder else (20, 8)
  v, x_BxTxC = case(module, frames, channels)
  x_BxTxC = np.concatenate([x_BxTxC, x_BxTxC[:, ::-1], 2 * x_BxTxC[:1]])
  valid_B = frames * np.array([20, 7, 13, 20, 1]) // 20
  args = (module, v, x_BxTxC, valid_B)
  whole = run(monkeypatch, WHOLE, *args)
  widest = 8 if kind is SeanetEncoder else 2
  groups = run(monkeypatch, 2 * 400 * widest, *args)
  np.testing.assert_allclose(groups, whole, rtol=0, atol=1e-5 * np.abs(whole).max())
  monkeypatch.setattr(ops, "window_numbers", lambda: 400 * widest)
  assert str(jax.make_jaxpr(module.apply)(*args[1:])).count("scan[") == 2  # and LSTM


def test_training_fresh_weights_and_captured_values_are_whole(monkeypatch):
  module = ENCODERS["dac"]
  v, x = case(module, 111 * module.hop, 1)
  monkeypatch.setattr(ops, "window_numbers", lambda: SHORT)
  jaxpr = jax.make_jaxpr(lambda v, x: module.apply(v, x, train=True))(v, x)
  assert "scan[" not in str(jaxpr)
  fresh = jax.eval_shape(module.init, jax.random.key(0), x)
  assert jax.tree.structure(fresh) == jax.tree.structure(v)
  y_BxTxD, captured = module.apply(v, x, capture_intermediates=True)
  last = captured["intermediates"]["__call__"][0]
  np.testing.assert_array_equal(last, y_BxTxD)


@pytest.mark.parametrize(
  "module,whole",  # which has at least two arrays of the width near the audio
  [
    (DacEncoder(8, (2, 4, 5), latent_dim=4), 60),
    (SeanetEncoder(8, (2, 4, 5), latent_dim=4, lstm_layers=0), 60),
    (ENCODERS["magnitude"], 30),
    (DECODERS["magnitude"], 60),
  ],
)
def test_memory_is_that_of_a_window(monkeypatch, module, whole):
  """A longer clip adds only its joined pieces, a few numbers per sample."""
  hop, channels = (1, 8) if module in DECODERS.values() else (module.hop, 1)
  v, _ = case(module, 8 * hop, channels)
  samples, length = 2000 * module.hop, 2000 * hop

  def added(numbers):
    """Returns the added bytes per sample."""
    monkeypatch.setattr(ops, "window_numbers", lambda n=numbers: n)
    compiled = [
      jax.jit(lambda v, x: module.apply(v, x)).lower(v, x).compile()
      for x in (
        jax.ShapeDtypeStruct((1, n * length, channels), jnp.float32) for n in (1, 4)
      )
    ]
    one, four = (c.memory_analysis().temp_size_in_bytes for c in compiled)
    return (four - one) / (3 * samples)

  assert added(WHOLE) > whole
  assert added(8000) < 20
