"""Turns `config.semantic` into the features that semantic tokens are clusters of."""

import jax

from jaxcodec import weights
from jaxcodec.build.fields import Config, ConfigError, call, positive
from jaxcodec.codecs.codec import Codec
from jaxcodec.porting import hubert
from jaxcodec.semantic.hubert_features import HubertFeatures
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.settings import SemanticSettings
from jaxcodec.semantic.tokenizer import Features
from jaxcodec.types import TokenSpec


def semantic_settings(config: Config, spec: TokenSpec) -> SemanticSettings:
  """Checks `config.semantic` for a codec and returns its settings."""
  positive(config["semantic"], "semantic", "num_clusters")
  fields = dict(config["semantic"])
  return call(SemanticSettings, fields, "semantic", sample_rate=spec.sample_rate)


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


def distilled_features(config: Config, codec: Codec) -> Features | None:
  """Returns the features that a quantiser is taught, None if it is taught none.

  Raises:
    ConfigError: the quantiser is for features of another width, the training has no
      weight of its loss or is not that with discriminators.
  """
  wanted = getattr(codec.quantizer, "semantic_dim", None)
  if wanted is None:
    return None
  train, path = config["codec_train"], "codec_train"
  if train.get("task", "gan") != "gan":
    raise ConfigError(f"{path}.task must be 'gan': codec.quantizer has semantic_dim")
  if "distill" not in train["weights"]:
    raise ConfigError(f"{path}.weights.distill is missing: codec.quantizer is taught")
  features = make_semantic_features(config, codec.spec)
  if features.width != wanted:
    raise ConfigError(
      f"codec.quantizer.semantic_dim must be {features.width}, as the features of"
      f" semantic.name={config['semantic']['name']!r} are, got {wanted}"
    )
  return features
