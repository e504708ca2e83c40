"""What the stages of an experiment share, opened and checked before any of them."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np
import soundfile

from jaxcodec import weights
from jaxcodec.build.check import check
from jaxcodec.build.codec import make_codec
from jaxcodec.build.fields import ConfigError, crop_samples
from jaxcodec.build.semantic import make_semantic_features
from jaxcodec.build.text import make_vocabulary
from jaxcodec.data import split as splits
from jaxcodec.data.batches import crops as data_pipeline
from jaxcodec.data.source import Source, open_source
from jaxcodec.data.sources import synthetic
from jaxcodec.data.text import Vocabulary
from jaxcodec.data.text.corpus import encode_all
from jaxcodec.inference.codec import CodecRunner
from jaxcodec.parallel import sharding
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.tokenizer import Features
from jaxcodec.stages import Stage
from jaxcodec.types import TokenSpec

PARAMS = "params.safetensors"


@dataclasses.dataclass
class Experiment:
  """A config with the data that it names.

  Attributes:
    config: plain nested dicts.
    workdir: where the stages write.
    source: the recordings.
    split: indices into them by part.
    skipped: recordings that were left out, as in `Source.skipped`.
    done: the stages that are complete, by name.
  """

  config: dict[str, Any]
  workdir: pathlib.Path
  source: Source
  split: dict[str, list[int]]
  skipped: list[dict[str, str]]
  done: dict[str, Stage] = dataclasses.field(default_factory=dict)

  @property
  def synthetic(self) -> bool:
    """Whether there are no recordings, and noise in their place."""
    return self.config["data"]["source"] == synthetic.NAME

  @property
  def seed(self) -> int:
    return self.config["seed"]

  @functools.cached_property
  def spec(self) -> TokenSpec:
    return make_codec(self.config).spec

  @functools.cached_property
  def mesh(self) -> jax.sharding.Mesh:
    try:
      mesh = sharding.make_mesh(self.config["mesh"])
      sharding.batch_part(mesh)
      return mesh
    except ValueError as error:
      raise ConfigError(str(error)) from error

  @functools.cached_property
  def codec(self) -> CodecRunner:
    """The trained codec."""
    variables = weights.load_params(self.done["codec"].folder / PARAMS)
    return CodecRunner(make_codec(self.config), variables)

  @functools.cached_property
  def semantic_features(self) -> Features:
    """What semantic tokens are clusters of; reads HuBERT's weights.

    Raises:
      ConfigError: naming the weights that cannot be used.
    """
    return make_semantic_features(self.config, self.spec)

  def recorded(self, part: str) -> Any:
    """What a stage's record of its inputs says of a part of the config.

    Of HuBERT it says what the weights are, not where they lie.
    """
    settings = self.config[part]
    if part != "semantic":
      return settings
    clusters = {"num_clusters": settings["num_clusters"]}
    if isinstance(self.semantic_features, Mfcc):
      return clusters
    return {**clusters, "hubert": self.semantic_features.config}

  @functools.cached_property
  def vocabulary(self) -> Vocabulary | None:
    """The symbols of texts, where the config has `text`."""
    return make_vocabulary(self.config)

  @functools.cached_property
  def text_ids(self) -> dict[int, np.ndarray]:
    """Symbol ids of the recordings' texts, by index; none where none are wanted."""
    if self.vocabulary is None:
      return {}
    return encode_all(
      self.vocabulary,
      self.source.utterances,
      max_symbols=self.config["text"]["max_symbols"],
      on_error=self.config["data"]["on_error"],
    )

  def key(self, purpose: str) -> jax.Array:
    """A random key for one purpose; the same for the same seed."""
    number = hashlib.sha256(purpose.encode()).digest()[:4]
    key = jax.random.key(self.seed)
    return jax.random.fold_in(key, int.from_bytes(number) & 0x7FFFFFFF)

  def audio(self, index: int) -> np.ndarray:
    """Recording `index` at the codec's sample rate, mono (N,)."""
    return self.source.audio(index, self.spec.sample_rate)

  def index_of(self) -> dict[str, int]:
    """Index by id of the recordings."""
    return {u.id: i for i, u in enumerate(self.source.utterances)}


def open_experiment(config: dict[str, Any], workdir: pathlib.Path) -> Experiment:
  """Checks the config, opens the data and splits it.

  Raises:
    ConfigError, DataError: naming the field or file, before any work.
  """
  check(config)
  data = config["data"]
  options = {k: v for k, v in data["options"].items() if v is not None}
  source = open_source(
    data["source"],
    data["path"],
    sample_rate=data["sample_rate"],
    on_error=data["on_error"],
    **options,
  )
  if data["source"] == synthetic.NAME:
    return Experiment(config, workdir, source, dict.fromkeys(splits.PARTS, []), [])
  split = splits.make_split(
    source.utterances, seed=config["seed"], valid=data["valid"], test=data["test"]
  )
  spec = make_codec(config).spec
  split["train"], short = data_pipeline.long_enough(
    source,
    split["train"],
    sample_rate=spec.sample_rate,
    crop_samples=crop_samples(config, "codec_train", spec),
    on_error=data["on_error"],
  )
  return Experiment(config, workdir, source, split, [*source.skipped, *short])


def data_inputs(experiment: Experiment) -> dict[str, Any]:
  """What a stage records of the data: what decides its content alone."""
  data = dict(experiment.config["data"])
  for name in ("path", "workers"):
    data.pop(name)
  return {**data, "fingerprint": experiment.source.fingerprint}


def plain(config: Any) -> dict[str, Any]:
  """A ConfigDict as JSON would give it back, but with tuples for lists."""

  def tuples(value):
    if isinstance(value, dict):
      return {name: tuples(child) for name, child in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value

  return tuples(json.loads(config.to_json()))


def read_wav(path: str | os.PathLike) -> np.ndarray:
  """Mono audio (N,) float32 of a file that was written by `write_wav`."""
  audio_N, _ = soundfile.read(path, dtype="float32")
  return audio_N


def safe_name(utterance_id: str) -> str:
  """The id as a file name."""
  return utterance_id.replace("/", "_").replace("\\", "_")
