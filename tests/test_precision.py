"""Products that features and their losses hang on are float32 on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend import core

from jaxcodec.codecs.magnitude_features import MagnitudeFeatures
from jaxcodec.nn import dsp, resample
from jaxcodec.semantic import kmeans
from jaxcodec.semantic.mfcc import Mfcc

AUDIO = jax.ShapeDtypeStruct((1, 3200), jnp.float32)


def _mel(x_BxN):
  return dsp.mel_spectrogram(x_BxN, sample_rate=16_000, n_fft=256, hop=64, n_mels=20)


def _bands(x_BxN):
  features = MagnitudeFeatures(n_fft=160, sub_hop=40)
  return features.bands(features.magnitudes(x_BxN))


def _cepstra(x_BxN):
  return Mfcc(sample_rate=16_000, hop=320).cepstra(x_BxN)


def _nearest(x_BxN):
  return kmeans.nearest(x_BxN.reshape(-1, 8), jnp.zeros((4, 8)))


def _downsample(x_BxN):
  return resample.downsample(x_BxN, 2)


@pytest.mark.parametrize("feature", [_mel, _bands, _cepstra, _nearest, _downsample])
def test_products_have_the_highest_precision(feature):
  precisions = _dot_precisions(jax.make_jaxpr(feature)(AUDIO).jaxpr)
  assert precisions
  assert set(precisions) == {(lax.Precision.HIGHEST, lax.Precision.HIGHEST)}


def _dot_precisions(jaxpr):
  found = []
  for equation in jaxpr.eqns:
    if equation.primitive is lax.dot_general_p:
      found.append(equation.params["precision"])
    for inner in core.jaxprs_in_params(equation.params):
      found += _dot_precisions(inner)
  return found


def test_a_quiet_band_survives_beside_a_loud_one():
  """Bfloat16 products, as a TPU has by default, would lose it."""
  at_N = np.arange(3200) / 16_000
  quiet_N = 1e-4 * np.sin(2 * np.pi * 4000 * at_N)
  loud_N = np.sin(2 * np.pi * 500 * at_N)
  alone, beside = (np.asarray(_mel(x[None])) for x in (quiet_N, quiet_N + loud_N))
  band = alone[0, 5].argmax()
  np.testing.assert_allclose(beside[0, 5:-5, band], alone[0, 5:-5, band], rtol=0.05)
