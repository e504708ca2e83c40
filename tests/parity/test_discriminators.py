"""Our discriminators against the originals', on random weights."""

import types

import jax
import numpy as np
import originals
import pytest

from jaxcodec import losses
from jaxcodec.codecs.discriminators import (
  DacDiscriminator,
  EncodecDiscriminator,
  VocosDiscriminator,
)
from jaxcodec.porting import discriminators as tables
from jaxcodec.porting.table import to_flax, to_torch

torch = pytest.importorskip("torch")
pytestmark = [
  pytest.mark.parity,
  pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
]

N = 1000


def _dac():
  originals.dac()
  from dac.model.discriminator import Discriminator

  theirs = Discriminator([2], [2], [256], sample_rate=16_000)
  ours = DacDiscriminator((2,), (256,), rates=(2,))
  return theirs, ours, tables.dac(1, 1), lambda x: theirs(x[:, None])


def _encodec(channels):
  originals.encodec()
  from encodec.msstftd import MultiScaleSTFTDiscriminator

  theirs = MultiScaleSTFTDiscriminator(
    4, channels, n_ffts=[256, 512], hop_lengths=[64, 128], win_lengths=[256, 512]
  )

  def maps(x):
    scores, maps = theirs(x[:, None] if channels == 1 else x.transpose(1, 2))
    return [[*m, score] for m, score in zip(maps, scores, strict=True)]

  return theirs, EncodecDiscriminator((256, 512), 4), tables.ENCODEC, maps


def _vocos():
  originals.vocos()
  from vocos.discriminators import (
    MultiPeriodDiscriminator,
    MultiResolutionDiscriminator,
  )

  theirs = torch.nn.Module()
  theirs.multiperioddisc = MultiPeriodDiscriminator((2, 7))
  theirs.multiresddisc = MultiResolutionDiscriminator((256,))

  def maps(x):
    pairs = theirs.multiperioddisc(x, x), theirs.multiresddisc(x, x)
    return [maps for _, _, real, _ in pairs for maps in real]

  return theirs, VocosDiscriminator((2, 7), (256,)), tables.VOCOS, maps


CASES = {
  "dac": _dac,
  "encodec": lambda: _encodec(1),
  "encodec_stereo": lambda: _encodec(2),
  "vocos": _vocos,
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
  """Returns the original and our discriminator with the same weights, and audio."""
  torch.manual_seed(0)
  theirs, ours, rules, their_maps = CASES[request.param]()
  x = originals.noise(2, N, *([2] if "stereo" in request.param else []))
  shapes = jax.eval_shape(ours.init, jax.random.key(0), x)["params"]
  params = to_flax(originals.state(theirs), rules, shapes)
  return types.SimpleNamespace(**locals())


def _like_theirs(ours, B):
  """Returns our map in PyTorch's layout, with the period as an axis of its own."""
  ours = np.asarray(ours)
  if ours.ndim == 4:
    return ours.transpose(0, 3, 1, 2)
  if ours.shape[0] == B:
    return ours.transpose(0, 2, 1)
  return ours.reshape(B, -1, *ours.shape[1:]).transpose(0, 3, 2, 1)


def test_same_maps_and_scores(case):
  with torch.no_grad():
    expected = case.their_maps(torch.tensor(case.x))
  maps = jax.jit(case.ours.apply)({"params": case.params}, case.x)
  assert len(maps) == len(case.ours.loss_weights)
  for their_sub, our_sub in zip(expected, maps, strict=True):
    for their_map, our_map in zip(their_sub, our_sub, strict=True):
      ours, theirs = _like_theirs(our_map, len(case.x)), their_map.numpy()
      assert ours.shape == theirs.shape
      assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_weights_go_back_bit_equal(case):
  back = to_torch(case.params, case.rules)
  expected = {
    k: v for k, v in originals.state(case.theirs).items() if "window" not in k
  }
  assert back.keys() == expected.keys()
  for name, array in back.items():
    np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("case", ["encodec"], indirect=True)
def test_same_gradient_of_a_generator_step(case):
  """Takes EnCodec's losses: means over scales of minus the score and of features."""
  real, fake = case.x, originals.noise(*case.x.shape, seed=1)
  t_fake = torch.tensor(fake, requires_grad=True)
  scales = list(
    zip(case.their_maps(torch.tensor(real)), case.their_maps(t_fake), strict=True)
  )
  score = -sum(f[-1].mean() for _, f in scales)
  feature = sum(
    torch.nn.functional.l1_loss(a.detach(), b) / (len(r) - 1)
    for r, f in scales
    for a, b in zip(r[:-1], f[:-1], strict=True)
  )
  ((score + feature) / len(scales)).backward()

  def total(fake):
    ours, weights = case.ours, case.ours.loss_weights
    real_maps, maps = (ours.apply({"params": case.params}, a) for a in (real, fake))
    score = losses.ADVERSARIAL["hinge"].generator(maps, weights)
    return score + losses.FEATURE_MATCHING["encodec"](real_maps, maps, weights)

  grad, expected = jax.jit(jax.grad(total))(fake), t_fake.grad.numpy()
  assert np.abs(grad - expected).max() <= 1e-4 * np.abs(expected).max()
