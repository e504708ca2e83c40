"""A speech language model with its codec from the work directory of an experiment."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec import files
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.api.text_to_speech import TextToSpeech
from jaxcodec.api.voice_conversion import VoiceConverter
from jaxcodec.build.codec import make_codec
from jaxcodec.build.semantic import make_semantic_features
from jaxcodec.build.slm import make_sampler, make_slm, reads_text
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.data.text import Vocabulary, front_end
from jaxcodec.semantic.tokenizer import SemanticTokenizer
from jaxcodec.types import TokenSpec
from jaxcodec.weights import FILE, load_params

_CONFIG, _SPEC = "config.json", "slm/spec.json"
_CODEC, _SLM = f"codec/{FILE}", f"slm/{FILE}"
_VOCABULARY, _SEMANTIC = "slm/vocabulary.json", "slm/semantic.safetensors"


def load_slm(
  weights: files.PathLike, *, semantic_weights: files.PathLike | None = None
) -> TextToSpeech | VoiceConverter:
  """A trained speech language model, ready to use.

  Args:
    weights: the work directory of an experiment.
    semantic_weights: HuBERT's, for a model on its tokens, if they are not where they
      were in training.

  Raises:
    FileNotFoundError: something is not in the work directory.
    ValueError: something in it is damaged or does not belong to the rest, or a text
      front end or HuBERT's weights are not on this machine.
  """
  folder = pathlib.Path(weights)
  for name in (_CONFIG, _CODEC, _SLM, _SPEC):
    if not (folder / name).is_file():
      raise FileNotFoundError(
        f"{weights}: expected the work directory of an experiment with a trained"
        f" language model, but there is no {name} in it"
      )
  config = _json(folder / _CONFIG, "config")
  text, spec = reads_text(config), _checked_spec(folder, config)
  if semantic_weights and (text or not _uses_hubert(config)):
    raise ValueError(f"{weights} does not use HuBERT: semantic_weights must be None")
  if text:
    return _text_to_speech(folder, config, spec)
  return _voice_converter(folder, config, spec, semantic_weights)


def _text_to_speech(folder, config, spec):
  vocabulary = Vocabulary.load(folder / _VOCABULARY)
  try:
    front_end(vocabulary.front_end)
  except ValueError as error:
    raise ValueError(
      f"{folder / _VOCABULARY}: the text front end that the model was trained with:"
      f" {error}"
    ) from error
  return TextToSpeech(
    *_parts(folder, config, make_slm(config, spec, vocabulary)),
    vocabulary=vocabulary,
    max_symbols=config["text"]["max_symbols"],
    max_prompt_seconds=config["slm_train"]["max_seconds"],
  )


def _voice_converter(folder, config, spec, semantic_weights):
  semantic = config["semantic"]
  if semantic_weights is not None:
    semantic = {**semantic, "weights": str(semantic_weights)}
  try:
    features = make_semantic_features({**config, "semantic": semantic}, spec)
    tokenizer = SemanticTokenizer.load(folder / _SEMANTIC, features)
  except ValueError as error:
    if not _uses_hubert(config):
      raise
    raise ValueError(
      f"{error}; semantic_weights (--semantic-weights) says where HuBERT's lie"
    ) from error
  return VoiceConverter(
    *_parts(folder, config, make_slm(config, spec)),
    tokenizer=tokenizer,
    prompt_seconds=config["generate"]["prompt_seconds"],
  )


def _uses_hubert(config):
  return config["semantic"].get("name") == "hubert"


def _parts(folder, config, model):
  """What every `SpeechModel` needs."""
  variables = load_params(folder / _SLM, like={"params": param_shapes(model)})
  sampler, generate = make_sampler(config), config["generate"]
  codec = make_codec(config)
  codec_file, shapes = folder / _CODEC, variable_shapes(codec)
  codec = CodecModel(codec, load_params(codec_file, like=shapes))
  return codec, model, variables["params"], sampler, generate["batch_size"]


def _checked_spec(folder: pathlib.Path, config: Mapping[str, Any]) -> TokenSpec:
  """The codec's; raises ValueError unless it is the one that the SLM was trained on."""
  try:
    trained_on = TokenSpec(**_json(folder / _SPEC, "token_spec"))
  except TypeError as error:
    raise ValueError(f"{folder / _SPEC}: not a token spec: {error}") from error
  if (spec := make_codec(config).spec) != trained_on:
    raise ValueError(
      f"{folder}: its language model was trained on another codec: on {trained_on}, but"
      f" the codec there has {spec}"
    )
  checksum = _json(folder / _SPEC, "codec_sha256")
  if (found := files.sha256(folder / _CODEC)) != checksum:
    raise ValueError(
      f"{folder / _CODEC}: other weights than those that the language model was trained"
      f" on: expected the sha256 {checksum[:12]}, got {found[:12]}"
    )
  return spec


def _json(path: pathlib.Path, field: str) -> Any:
  try:
    return json.loads(path.read_text(encoding="utf-8"))[field]
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f"{path}: expected JSON with {field!r}: {error!r}") from error


def param_shapes(model: Any) -> Any:
  """A language model's parameters as nested dicts of `ShapeDtypeStruct`s."""
  ids, mask = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), bool)
  batch = {
    "codes_BxTxK": jnp.zeros((1, 1, model.spec.num_codebooks), jnp.int32),
    "mask_BxT": mask,
    "semantic_BxT": ids,
    "text_BxS": ids,
    "text_mask_BxS": mask,
  }
  return jax.eval_shape(model.init_params, jax.random.key(0), batch)
