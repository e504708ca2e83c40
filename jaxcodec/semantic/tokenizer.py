"""Frame-aligned semantic tokens: the nearest centroids of features of the audio."""

import dataclasses
import json
import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxcodec import files
from jaxcodec.semantic import kmeans
from jaxcodec.semantic.hubert_features import HubertFeatures
from jaxcodec.semantic.mfcc import Mfcc

Features = Mfcc | HubertFeatures
_NAMES = {Mfcc: "mfcc", HubertFeatures: "hubert"}
# Smaller matrices are clustered on one device: many would be no faster.
_SHARDED_BYTES = 2**26


@dataclasses.dataclass(frozen=True, eq=False)
class SemanticTokenizer:
  """Turns audio into one semantic token a codec frame.

  Attributes:
    features: computes what tokens are clusters of, `features(audio_BxN, length_B)`.
    centroid_VxD: float32, a row for each token.
  """

  features: Features
  centroid_VxD: np.ndarray

  @property
  def num_tokens(self) -> int:
    return self.centroid_VxD.shape[0]

  @property
  def hop(self) -> int:
    """Samples a token."""
    return self.features.hop

  def encode(self, audio_BxN: jax.Array, length_B: jax.Array) -> jax.Array:
    """Returns tokens (B, ceil(N / hop)) int32; 0 on frames past a row's length.

    Args:
      audio_BxN: audio at the features' sample rate; past its length a row is ignored.
      length_B: valid samples of each row.
    """
    return _encode(self.features, self.centroid_VxD, audio_BxN, length_B)

  def save(self, path: str | os.PathLike) -> None:
    """Writes a safetensors file with its config in the header, always the same bytes.

    HuBERT's weights are not in it, only their checksum. The file appears whole or not
    at all.
    """
    data = safetensors.numpy.save(
      {"centroid": np.asarray(self.centroid_VxD, np.float32)},
      # One entry: the order of several would differ from run to run.
      metadata={"features": _text(self.features)},
    )
    files.write_bytes(path, data)

  @classmethod
  def load(
    cls, path: str | os.PathLike, features: Features | None = None
  ) -> "SemanticTokenizer":
    """Reads what `save` wrote.

    Args:
      path: the file.
      features: those that it was fitted on; None for an `Mfcc` of the file's config.

    Raises:
      ValueError: the file is not a semantic tokeniser, or one fitted on other features;
        names it.
    """
    try:
      with safetensors.safe_open(path, framework="numpy") as file:
        text, centroid_VxD = file.metadata()["features"], file.get_tensor("centroid")
      config = json.loads(text)
      if config.pop("name") == "mfcc" and features is None:
        features = Mfcc(**config)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as e:
      raise ValueError(f"{path}: not a semantic tokeniser's file ({e!r})") from e
    given = None if features is None else _text(features)
    if given != text:
      raise ValueError(f"{path}: was fitted on the features {text}, but given {given}")
    return cls(features, centroid_VxD)


def fit(
  rng: jax.Array,
  features: Features,
  features_list: Sequence[np.ndarray],
  *,
  num_tokens: int,
  max_frames: int = 200_000,
  max_iterations: int = 100,
  sharding: jax.sharding.NamedSharding | None = None,
) -> SemanticTokenizer:
  """Fits a tokeniser on features of utterances.

  Args:
    rng: key; chooses frames and the start.
    features: what made `features_list`, to be stored with the centroids.
    features_list: valid frames of each utterance, (T, D).
    num_tokens: clusters.
    max_frames: if there are more, a random choice of so many is used.
    max_iterations: of k-means.
    sharding: of the frames over devices, used where they take much memory.

  Raises:
    ValueError: no utterance, a non-finite feature, or fewer frames than clusters.
  """
  if not len(features_list):
    raise ValueError("features_list is empty: no audio to fit semantic tokens on")
  for i, one_TxD in enumerate(features_list):
    if not np.isfinite(one_TxD).all():
      raise ValueError(f"features_list[{i}] has a non-finite value")
  x_TxD = np.concatenate([np.asarray(x, np.float32) for x in features_list])
  choice_rng, rng = jax.random.split(rng)
  if len(x_TxD) > max_frames:
    chosen = jax.random.choice(choice_rng, len(x_TxD), (max_frames,), replace=False)
    x_TxD = x_TxD[np.sort(chosen)]
  sharding = sharding if x_TxD.nbytes >= _SHARDED_BYTES else None
  clusters = kmeans.fit(rng, x_TxD, num_tokens, max_iterations, sharding)
  return SemanticTokenizer(features, np.asarray(clusters.centroid_VxD))


@jax.jit
def compute(features: Features, audio_BxN: jax.Array, length_B: jax.Array) -> jax.Array:
  """Runs `features(audio_BxN, length_B)`, compiled."""
  return features(audio_BxN, length_B)


def _text(features):
  """Returns the settings that decide the features, as JSON."""
  config = {"name": _NAMES[type(features)]} | features.config
  return json.dumps(config, sort_keys=True)


@jax.jit
def _encode(features, centroid_VxD, audio_BxN, length_B):
  x_BxTxD = features(audio_BxN, length_B)
  batch, frames, width = x_BxTxD.shape
  index, _ = kmeans.nearest(x_BxTxD.reshape(-1, width), jnp.asarray(centroid_VxD))
  valid_BxT = jnp.arange(frames)[None] < -(-length_B // features.hop)[:, None]
  return jnp.where(valid_BxT, index.reshape(batch, frames), 0)
