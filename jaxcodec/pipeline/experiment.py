"""The data and models that all stages share, checked before the first one starts."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import soundfile

from jaxcodec import stages, weights
from jaxcodec.build.check import Models, check
from jaxcodec.build.fields import ConfigError, crop_samples
from jaxcodec.build.language_models import LanguageModel, language_model
from jaxcodec.build.semantic import make_semantic_features
from jaxcodec.data import split as splits
from jaxcodec.data.batches import crops as data_pipeline
from jaxcodec.data.source import Source, open_source
from jaxcodec.data.sources import synthetic
from jaxcodec.data.text import Vocabulary
from jaxcodec.data.text.corpus import EncodedTexts, encode_all
from jaxcodec.inference import placement
from jaxcodec.inference.codec import CodecRunner
from jaxcodec.parallel import sharding
from jaxcodec.semantic.tokenizer import Features
from jaxcodec.stages import Stage
from jaxcodec.types import TokenSpec

PARAMS, SPLIT = "params.safetensors", "split.json"
_LONGEST_NAME = 180  # bytes, of the 255 that file systems allow


@dataclasses.dataclass
class Experiment:
  """A config with the data that it names.

  Attributes:
    config: plain nested dicts.
    workdir: where the stages write.
    source: the recordings.
    split: indices into them by part.
    skipped: recordings that were left out, as in `Source.skipped`.
    models: what the config describes, without weights.
    done: the stages that are complete, by name.
  """

  config: Mapping[str, Any]
  workdir: pathlib.Path
  source: Source
  split: dict[str, list[int]]
  skipped: list[dict[str, str]]
  models: Models
  done: dict[str, Stage] = dataclasses.field(default_factory=dict)

  @property
  def synthetic(self) -> bool:
    """Whether noise takes the place of recordings."""
    return self.config["data"]["source"] == synthetic.NAME

  @property
  def seed(self) -> int:
    return self.config["seed"]

  @property
  def spec(self) -> TokenSpec:
    """The codec's."""
    return self.models.spec

  @property
  def vocabulary(self) -> Vocabulary | None:
    """The symbols of texts, where the config has `text`."""
    return self.models.vocabulary

  @property
  def language_model(self) -> LanguageModel:
    """The kind of language model that the config names."""
    return language_model(self.config)

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
    variables = self.codec_variables()
    return CodecRunner(self.models.codec, variables, placement.for_corpus())

  def codec_variables(self) -> dict[str, Any]:
    """Reads the trained codec's variables."""
    return weights.load_params(self.done["codec"].folder / PARAMS)

  @functools.cached_property
  def semantic_features(self) -> Features:
    """The features that semantic tokens are clusters of; reads HuBERT's weights.

    Raises:
      ConfigError: naming the weights that cannot be used.
    """
    return make_semantic_features(self.config, self.spec)

  @property
  def text_ids(self) -> dict[int, np.ndarray]:
    """Symbol ids of the recordings' texts, by index; empty without `text`."""
    return self.texts.ids

  @functools.cached_property
  def texts(self) -> EncodedTexts:
    """The recordings' texts, and those that are left out."""
    if self.vocabulary is None:
      return EncodedTexts({}, [])
    return encode_all(
      self.vocabulary,
      self.source.utterances,
      max_symbols=self.config["text"]["max_symbols"],
      on_error=self.config["data"]["on_error"],
    )

  def key(self, purpose: str) -> jax.Array:
    """Returns the random key of a purpose, which depends on the seed alone."""
    number = hashlib.sha256(purpose.encode()).digest()[:4]
    key = jax.random.key(self.seed)
    return jax.random.fold_in(key, int.from_bytes(number) & 0x7FFFFFFF)

  def audio(self, index: int) -> np.ndarray:
    """Returns recording `index` at the codec's sample rate, mono (N,)."""
    return self.source.audio(index, self.spec.sample_rate)

  def index_of(self) -> dict[str, int]:
    """Returns the index of each recording by its id."""
    return {u.id: i for i, u in enumerate(self.source.utterances)}


def open_experiment(config: Mapping[str, Any], workdir: pathlib.Path) -> Experiment:
  """Checks the config, opens the data and splits it.

  Raises:
    ConfigError, DataError: naming the field or file, before any work.
  """
  models = check(config)
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
    nothing = dict.fromkeys(splits.PARTS, [])
    return Experiment(config, workdir, source, nothing, [], models)
  split = _split(source.utterances, config, workdir)
  split["train"], short = data_pipeline.long_enough(
    source,
    split["train"],
    sample_rate=models.spec.sample_rate,
    crop_samples=_shortest(config, models.spec),
    on_error=data["on_error"],
  )
  skipped = [*source.skipped, *short]
  return Experiment(config, workdir, source, split, skipped, models)


def _split(utterances, config, workdir):
  """Splits by the folders of `data.folders`, if any: configs may not have the field.

  On another experiment's codec or tokens the split is that experiment's, whatever the
  seed is: its test part must not be trained on.
  """
  data = config["data"]
  for name in ("codec", "tokens"):
    if (workdir / name).is_symlink():
      path = (workdir / name).resolve().parent / "codec" / SPLIT
      if path.is_file():
        return splits.read_split(path, utterances)
  folders = data.get("folders", {})
  if any(folders.values()):
    return splits.split_by_folder(utterances, folders)
  return splits.make_split(
    utterances, seed=config["seed"], valid=data["valid"], test=data["test"]
  )


def _shortest(config, spec):
  """Returns how many samples an utterance must have: a crop, if any are made."""
  train = config["codec_train"]
  given = train.get("init_from") is not None and not train.get("freeze")
  if not train["steps"] and (given or not train.get("start")):
    return spec.hop
  return crop_samples(config, "codec_train", spec)


def data_inputs(experiment: Experiment) -> dict[str, Any]:
  """Returns what a stage records of the data: only what its content depends on."""
  data = dict(experiment.config["data"])
  for name in stages.WITHOUT_EFFECT["data"]:
    data.pop(name)
  # Configs of earlier versions lack these options; what they recorded still counts.
  later = {name for name in ("voices", "script") if data["options"].get(name) is None}
  data["options"] = {k: v for k, v in data["options"].items() if k not in later}
  if any(
    data.pop("folders", {}).values()
  ):  # the fingerprint doesn't tell who is in which
    # Which part a recording is in isn't in the fingerprint.
    data["split"] = splits.digest(experiment.source.utterances, experiment.split)
  return {**data, "fingerprint": experiment.source.fingerprint}


def plain(config: Any) -> dict[str, Any]:
  """Converts a ConfigDict to plain dicts with JSON's types, but tuples for lists."""
  return with_tuples(json.loads(config.to_json()))


def with_tuples(value: Any) -> Any:
  """Returns what JSON holds with tuples for lists, as configs have them."""
  if isinstance(value, dict):
    return {name: with_tuples(child) for name, child in value.items()}
  return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def read_wav(path: str | os.PathLike) -> np.ndarray:
  """Reads mono audio (N,) float32 from a file of `write_wav`."""
  audio_N, _ = soundfile.read(path, dtype="float32")
  return audio_N


def safe_name(utterance_id: str) -> str:
  """Returns the id as a file name without suffix, a different one for every id.

  Slashes are percent-encoded, as is the percent sign. The end of a long id is replaced
  by a hash of the whole, to leave room for suffixes.
  """
  encoded = utterance_id.replace("%", "%25")
  encoded = encoded.replace("/", "%2F").replace("\\", "%5C")
  if len(encoded.encode()) <= _LONGEST_NAME:
    return encoded
  start = encoded.encode()[:_LONGEST_NAME].decode(errors="ignore")
  return f"{start}-{hashlib.sha256(utterance_id.encode()).hexdigest()[:16]}"
