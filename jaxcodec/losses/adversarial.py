"""Adversarial and feature-matching losses, as DAC, EnCodec and Vocos have them.

All take the feature maps of every sub-discriminator, the score last, and the weight of
each sub-discriminator, 1 if `weights` is None. All return a scalar.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

Maps = Sequence[Sequence[jax.Array]]
Weights = Sequence[float] | None


def _weighted(values: Sequence[jax.Array], weights: Weights) -> jax.Array:
  if weights is None:
    return sum(values)
  return sum(w * value for w, value in zip(weights, values, strict=True))


def lsgan_discriminator(real: Maps, fake: Maps, weights: Weights = None) -> jax.Array:
  """Least squares, with targets of 1 for real and 0 for fake scores.

  Source: Mao et al. 2017, eq. 9 without the halves; dac/nn/loss.py, GANLoss.
  """
  pairs = zip(real, fake, strict=True)
  values = [((1 - r[-1]) ** 2).mean() + (f[-1] ** 2).mean() for r, f in pairs]
  return _weighted(values, weights)


def lsgan_generator(fake: Maps, weights: Weights = None) -> jax.Array:
  """Least squares, with a target of 1 for fake scores."""
  return _weighted([((1 - f[-1]) ** 2).mean() for f in fake], weights)


def hinge_discriminator(real: Maps, fake: Maps, weights: Weights = None) -> jax.Array:
  """Hinge, which is zero for real scores above 1 and fake ones below -1.

  Source: Lim and Ye 2017; audiocraft/adversarial/losses.py; vocos/loss.py,
  DiscriminatorLoss.
  """
  pairs = zip(real, fake, strict=True)
  values = [
    jax.nn.relu(1 - r[-1]).mean() + jax.nn.relu(1 + f[-1]).mean() for r, f in pairs
  ]
  return _weighted(values, weights)


def linear_generator(fake: Maps, weights: Weights = None) -> jax.Array:
  """Minus the fake scores, which EnCodec pairs with the hinge.

  Source: audiocraft/adversarial/losses.py, hinge_loss.
  """
  return _weighted([-f[-1].mean() for f in fake], weights)


def hinge_generator(fake: Maps, weights: Weights = None) -> jax.Array:
  """Hinge, which is zero for fake scores above 1; Vocos pairs it with the other.

  Source: vocos/loss.py, GeneratorLoss.
  """
  return _weighted([jax.nn.relu(1 - f[-1]).mean() for f in fake], weights)


def _differences(reals, fakes):
  """Returns the mean |difference| of each map, without gradient to the real ones."""
  return [
    jnp.abs(jax.lax.stop_gradient(r) - f).mean()
    for r, f in zip(reals, fakes, strict=True)
  ]


def feature_matching(real: Maps, fake: Maps, weights: Weights = None) -> jax.Array:
  """Sum of mean |differences| of all maps but the score.

  Source: dac/nn/loss.py, GANLoss.
  """
  pairs = zip(real, fake, strict=True)
  return _weighted([sum(_differences(r[:-1], f[:-1])) for r, f in pairs], weights)


def mean_feature_matching(real: Maps, fake: Maps, weights: Weights = None) -> jax.Array:
  """Mean over all maps but the score of their mean |differences|.

  Source: audiocraft/adversarial/losses.py, FeatureMatchingLoss.
  """
  values = [
    sum(_differences(r[:-1], f[:-1])) / (len(r) - 1)
    for r, f in zip(real, fake, strict=True)
  ]
  return _weighted(values, weights)


def score_matching(real: Maps, fake: Maps, weights: Weights = None) -> jax.Array:
  """Sum of mean |differences| of the maps and the score.

  Source: vocos/loss.py, FeatureMatchingLoss.
  """
  pairs = zip(real, fake, strict=True)
  return _weighted([sum(_differences(r, f)) for r, f in pairs], weights)


class AdversarialLoss(NamedTuple):
  """The losses of discriminator and generator that belong together.

  Attributes:
    discriminator: maps (real, fake, weights) to the discriminator's loss.
    generator: maps (fake, weights) to the generator's loss.
    undecided: loss of the best discriminator that gives all audio the same score.
  """

  discriminator: Callable[..., jax.Array]
  generator: Callable[..., jax.Array]
  undecided: float


# By their names in the training config.
ADVERSARIAL = {
  "lsgan": AdversarialLoss(lsgan_discriminator, lsgan_generator, 0.5),
  "hinge": AdversarialLoss(hinge_discriminator, linear_generator, 2.0),
  "clipped_hinge": AdversarialLoss(hinge_discriminator, hinge_generator, 2.0),
}
FEATURE_MATCHING = {
  "dac": feature_matching,
  "encodec": mean_feature_matching,
  "vocos": score_matching,
}
