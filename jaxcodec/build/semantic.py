"""Turns `config.semantic` into the features that semantic tokens are clusters of."""

import jax

from jaxcodec import weights
from jaxcodec.build.fields import Config, ConfigError
from jaxcodec.build.slm import semantic_settings
from jaxcodec.porting import hubert
from jaxcodec.semantic.hubert_features import HubertFeatures
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.tokenizer import Features
from jaxcodec.types import TokenSpec


def make_semantic_features(config: Config, spec: TokenSpec) -> Features:
  """Makes the features, one for each of the codec's frames; reads HuBERT's weights.

  Raises:
    ConfigError: naming the weights that cannot be used.
  """
  rate, hop = spec.sample_rate, spec.hop
  settings = semantic_settings(config, spec)
  if settings.name == "mfcc":
    return Mfcc(rate, hop)
  try:
    model, params = hubert.load(settings.weights)
    checksum = weights.fingerprint(params)
    params = jax.device_put(params)
    return HubertFeatures(params, model, checksum, rate, hop, settings.layer)
  except (OSError, ValueError) as error:
    raise ConfigError(f"semantic: {error}") from error
