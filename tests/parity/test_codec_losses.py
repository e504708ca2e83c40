"""Our losses against the originals' code, or their formulas written in PyTorch."""

import functools

import jax
import numpy as np
import originals
import pytest

from jaxcodec import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.parity

RATE = 16_000


@pytest.fixture(scope="module")
def audio():
  """Returns two batches; the second has a silent item, which reaches every floor."""
  x, y = originals.noise(2, 4000), originals.noise(2, 4000, seed=1)
  y[1] = 0
  return x, y


def _maps(seed):
  """Returns maps of two sub-discriminators, with scores on both sides of the hinge."""
  shapes = ((2, 6, 4), (2, 3, 8), (2, 5, 1)), ((2, 9, 2), (2, 2, 2), (2, 7, 1))
  return [
    [originals.noise(*shape, seed=seed + i, scale=1.5) for i, shape in enumerate(sub)]
    for sub in shapes
  ]


def _close(ours, theirs):
  np.testing.assert_allclose(float(ours), theirs.item(), rtol=1e-5)


def _mel(kind, x, y):
  return jax.jit(functools.partial(losses.MEL[kind], sample_rate=RATE))(x, y)


def _torch(maps):
  return [[torch.tensor(m, requires_grad=True) for m in sub] for sub in maps]


def _vocos():
  originals.vocos()
  return pytest.importorskip("vocos.loss")


def test_vocos_adversarial_and_feature_losses_and_their_gradient():
  theirs = _vocos()
  real, fake = _maps(0), _maps(10)
  t_real, t_fake = _torch(real), _torch(fake)
  scores = [m[-1] for m in t_real], [m[-1] for m in t_fake]
  expected = theirs.DiscriminatorLoss()(*scores)[0]
  game = losses.ADVERSARIAL["clipped_hinge"]
  _close(game.discriminator(real, fake), expected)
  generator = theirs.GeneratorLoss()(scores[1])[0]
  features = theirs.FeatureMatchingLoss()(t_real, t_fake)
  (generator + 2 * features).backward()

  def total(fake):
    return game.generator(fake) + 2 * losses.FEATURE_MATCHING["vocos"](real, fake)

  value, grads = jax.jit(jax.value_and_grad(total))(fake)
  _close(value, generator + 2 * features)
  for ours, sub in zip(jax.tree.leaves(grads), sum(t_fake, []), strict=True):
    np.testing.assert_allclose(ours, sub.grad, atol=1e-7)


def test_encodec_adversarial_and_feature_losses():
  """Compares with audiocraft's adversarial/losses.py, averaged over scales."""
  real, fake = _maps(0), _maps(10)
  t_real, t_fake = _torch(real), _torch(fake)
  zero = torch.zeros(())
  discriminator = sum(
    -torch.minimum(r[-1] - 1, zero).mean() - torch.minimum(-f[-1] - 1, zero).mean()
    for r, f in zip(t_real, t_fake, strict=True)
  )
  generator = -sum(f[-1].mean() for f in t_fake)
  feature = sum(
    sum(F.l1_loss(a, b) for a, b in zip(r[:-1], f[:-1], strict=True)) / 2
    for r, f in zip(t_real, t_fake, strict=True)
  )
  game, halves = losses.ADVERSARIAL["hinge"], (0.5, 0.5)
  _close(game.discriminator(real, fake, halves), discriminator / 2)
  _close(game.generator(fake, halves), generator / 2)
  _close(losses.FEATURE_MATCHING["encodec"](real, fake, halves), feature / 2)


class _Judged:
  """Stands in for a signal; holds the discriminator's maps of it."""

  def __init__(self, maps):
    self.audio_data = maps

  def clone(self):
    return self

  detach = clone


def test_dac_adversarial_and_feature_losses():
  originals.dac()
  from dac.nn.loss import GANLoss

  real, fake = _maps(0), _maps(10)
  theirs = GANLoss(lambda maps: maps)
  signals = _Judged(_torch(fake)), _Judged(_torch(real))
  game = losses.ADVERSARIAL["lsgan"]
  _close(game.discriminator(real, fake), theirs.discriminator_loss(*signals))
  generator, feature = theirs.generator_loss(*signals)
  _close(game.generator(fake), generator)
  _close(losses.FEATURE_MATCHING["dac"](real, fake), feature)


def test_dac_mel(audio):
  """Compares with DAC's loss by torch's STFT and librosa's filters."""
  librosa = pytest.importorskip("librosa")
  x, y = audio
  total = 0.0
  for n_fft, n_mels in losses.DAC_MELS:
    filters = torch.tensor(librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=n_mels))
    logs = []
    for a in (x, y):
      window = torch.hann_window(n_fft)
      spectrum = torch.stft(
        torch.tensor(a), n_fft, n_fft // 4, window=window, return_complex=True
      )
      mel = (spectrum.abs().transpose(1, 2) @ filters.T).clamp(1e-5)
      logs.append(mel.log10())
    total += F.l1_loss(*logs)
  _close(_mel("dac", x, y), total)


def test_vocos_mel(audio):
  theirs = _vocos().MelSpecReconstructionLoss(sample_rate=RATE)
  x, y = audio
  expected = theirs(torch.tensor(y), torch.tensor(x))
  _close(_mel("vocos", x, y), expected)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")
def test_encodec_mel(audio):
  """Compares with audiocraft/losses/specloss.py by torchaudio, with its config."""
  _vocos()
  from torchaudio.transforms import MelSpectrogram

  x, y = (torch.tensor(a[:, :3990]) for a in audio)  # no multiple of the hops
  total = 0.0
  for n_fft in (64, 128, 256, 512, 1024):
    hop, pad = n_fft // 4, (n_fft - n_fft // 4) // 2
    transform = MelSpectrogram(
      RATE,
      n_fft,
      n_fft,
      hop,
      64.0,
      **dict(n_mels=64, normalized=True, center=False),
    )
    mels = []
    for a in (x, y):
      a = F.pad(a[:, None], (pad, pad), "reflect")
      frames = -(-(a.shape[-1] - n_fft) // hop)
      a = F.pad(a, (0, frames * hop + n_fft - a.shape[-1]))
      mels.append(transform(a))
    log_x, log_y = (torch.log10(1e-5 + m) for m in mels)
    total += (F.l1_loss(*mels) + F.mse_loss(log_x, log_y)) / 10
  _close(_mel("encodec", x.numpy(), y.numpy()), total)
