"""A speech language model with its codec from the work directory of an experiment."""

import dataclasses
import importlib
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from jaxcodec import files, hub, shipped
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.api.text_to_speech import TextToSpeech
from jaxcodec.api.voice_conversion import VoiceConverter
from jaxcodec.build.codec import make_codec
from jaxcodec.build.conditions import SEMANTIC, VOCABULARY
from jaxcodec.build.language_models import language_model
from jaxcodec.build.semantic import make_semantic_features
from jaxcodec.build.slm import make_sampler, make_slm, param_shapes
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.data.text import Vocabulary, front_end
from jaxcodec.semantic.tokenizer import SemanticTokenizer
from jaxcodec.types import SpeechLanguageModel, TokenSpec
from jaxcodec.weights import FILE, load_params, token_fingerprint

SHARED_CODEC = "shared_codec"  # in config.json: a codec that comes with the package
_SLOWEST = 0.85  # of the mean pace: so slow, a whole piece should still end in time
_LEAST_SYMBOLS = 60  # of a piece, however short the utterances of training were
_CONFIG, _SPEC = "config.json", "slm/spec.json"
_CODEC, _SLM = f"codec/{FILE}", f"slm/{FILE}"


@dataclasses.dataclass(frozen=True)
class Run:
  """A work directory with a trained language model, checked to be of one piece.

  Attributes:
    folder: the work directory.
    config: of the experiment.
    codec: its codec, without weights.
    codec_file: the codec's weights.
    semantic_weights: where HuBERT's weights lie, if the user says so.
  """

  folder: pathlib.Path
  config: Mapping[str, Any]
  codec: Codec
  codec_file: pathlib.Path
  semantic_weights: files.PathLike | None

  @property
  def spec(self) -> TokenSpec:
    """The codec's."""
    return self.codec.spec

  @property
  def uses_hubert(self) -> bool:
    return self.config["semantic"].get("name") == "hubert"

  def params(self, model: SpeechLanguageModel) -> Any:
    """Loads the language model's parameters."""
    like = {"params": param_shapes(model)}
    return load_params(self.folder / _SLM, like=like)["params"]

  def parts(self, model: SpeechLanguageModel) -> tuple[Any, ...]:
    """Loads what every `SpeechModel` is made of, in the order of its arguments."""
    params, shapes = self.params(model), variable_shapes(self.codec)
    codec = CodecModel(self.codec, load_params(self.codec_file, like=shapes))
    sampler, rows = make_sampler(self.config), self.config["generate"]["batch_size"]
    return codec, model, params, sampler, rows

  def refuse_semantic_weights(self) -> None:
    """Raises ValueError if there are weights, which this model has no use for."""
    if self.semantic_weights:
      raise ValueError(
        f"{self.folder} does not use HuBERT: semantic_weights must be None"
      )


def load_slm(
  weights: files.PathLike, *, semantic_weights: files.PathLike | None = None
) -> TextToSpeech | VoiceConverter:
  """Loads a trained speech language model, ready to use.

  Args:
    weights: the work directory of an experiment, the name of a model that comes with
      the package, or a repository of the Hugging Face Hub, `user/repo`.
    semantic_weights: HuBERT's, for a model on its tokens, if they are not where they
      were in training.

  Raises:
    FileNotFoundError: something is not in the work directory.
    ValueError: something in it is damaged or does not belong to the rest, or a text
      front end, HuBERT's weights or code from outside is not there.
  """
  run = find_run(weights, semantic_weights)
  module, _, name = language_model(run.config).condition.loader.partition(":")
  return getattr(importlib.import_module(module), name)(run)


def find_run(
  weights: files.PathLike, semantic_weights: files.PathLike | None = None
) -> Run:
  """Returns the run, checked; raises as `load_slm` does."""
  folder = hub.find(weights, "slm")
  for name in (_CONFIG, _SLM, _SPEC):
    _check_there(folder, name)
  config = _json(folder / _CONFIG, "config")
  _check_imports(folder, config)
  codec_file = _codec_file(folder)
  codec = _checked_codec(folder, config, codec_file)
  return Run(folder, config, codec, codec_file, semantic_weights)


def load_text_to_speech(run: Run) -> TextToSpeech:
  """Loads a model that is given texts; raises as `load_slm` does."""
  run.refuse_semantic_weights()
  path, config = run.folder / "slm" / VOCABULARY, run.config
  vocabulary = Vocabulary.load(path)
  try:
    front_end(vocabulary.front_end, vocabulary.language)
  except ValueError as error:
    raise ValueError(
      f"{path}: the text front end that the model was trained with: {error}"
    ) from error
  max_symbols, longest = config["text"]["max_symbols"], _longest_text(run, vocabulary)
  return TextToSpeech(
    *run.parts(make_slm(config, run.spec, vocabulary)),
    vocabulary=vocabulary,
    max_symbols=max_symbols,
    piece_symbols=min(max_symbols, longest),
    max_prompt_seconds=config["slm_train"]["max_seconds"],
  )


def load_voice_converter(run: Run) -> VoiceConverter:
  """Loads a model that is given semantic tokens; raises as `load_slm` does."""
  semantic = run.config["semantic"]
  if not run.uses_hubert:
    run.refuse_semantic_weights()
  elif run.semantic_weights is not None:
    semantic = {**semantic, "weights": str(run.semantic_weights)}
  try:
    features = make_semantic_features({**run.config, "semantic": semantic}, run.spec)
    tokenizer = SemanticTokenizer.load(run.folder / "slm" / SEMANTIC, features)
  except ValueError as error:
    if not run.uses_hubert:
      raise
    raise ValueError(
      f"{error}; semantic_weights (--semantic-weights) says where HuBERT's lie"
    ) from error
  return VoiceConverter(
    *run.parts(make_slm(run.config, run.spec)),
    tokenizer=tokenizer,
    prompt_seconds=run.config["generate"]["prompt_seconds"],
    window_seconds=run.config["slm_train"]["crop_seconds"],
  )


def _longest_text(run: Run, vocabulary: Vocabulary) -> int:
  """Returns how many symbols fit in the longest utterances of training, mostly.

  `text.max_symbols` may allow many more, which would be cut in the middle.
  """
  pace, seconds = vocabulary.symbols_per_second, run.config["slm_train"]["max_seconds"]
  if pace is None:
    return sys.maxsize
  return max(_LEAST_SYMBOLS, int(_SLOWEST * pace * seconds))


def _check_imports(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Raises ValueError unless the program has imported the code that the run used.

  Nothing is imported because a file says so: who shares a run could name any code.
  """
  if missing := [n for n in config.get("imports", ()) if n not in sys.modules]:
    raise ValueError(
      f"{folder}: was trained with code from outside jaxcodec: import"
      f" {', '.join(missing)} first"
    )


def _check_there(folder: pathlib.Path, name: str) -> None:
  if not (folder / name).is_file():
    raise FileNotFoundError(
      f"{folder}: expected the work directory of an experiment with a trained language"
      f" model, but there is no {name} in it"
    )


def _codec_file(folder: pathlib.Path) -> pathlib.Path:
  """Returns where the codec's weights lie.

  An exported language model need not have its own: its config may name a codec that
  comes with the package.
  """
  name = json.loads((folder / _CONFIG).read_text(encoding="utf-8")).get(SHARED_CODEC)
  if name is not None:
    return shipped.find(name) / FILE
  _check_there(folder, _CODEC)
  return folder / _CODEC


def _checked_codec(
  folder: pathlib.Path, config: Mapping[str, Any], codec_file: pathlib.Path
) -> Codec:
  """The codec; raises ValueError unless it is the one that the SLM was trained on."""
  try:
    trained_on = TokenSpec(**_json(folder / _SPEC, "token_spec"))
  except TypeError as error:
    raise ValueError(f"{folder / _SPEC}: not a token spec: {error}") from error
  codec = make_codec(config)
  if codec.spec != trained_on:
    raise ValueError(
      f"{folder}: its language model was trained on another codec: on {trained_on}, but"
      f" the codec there has {codec.spec}"
    )
  checksum = _json(folder / _SPEC, "codec_sha256")
  found = files.sha256(codec_file)
  if found != checksum and not _makes_the_tokens(folder, codec_file):
    raise ValueError(
      f"{codec_file}: other weights than those that the language model was trained"
      f" on: expected the sha256 {checksum[:12]}, got {found[:12]}"
    )
  return codec


def _makes_the_tokens(folder: pathlib.Path, codec_file: pathlib.Path) -> bool:
  """Whether the codec differs in its decoder alone from that of the tokens."""
  spec = json.loads((folder / _SPEC).read_text(encoding="utf-8"))
  own = token_fingerprint(load_params(codec_file))
  return spec.get("token_fingerprint") == own  # earlier revisions recorded none


def _json(path: pathlib.Path, field: str) -> Any:
  try:
    return json.loads(path.read_text(encoding="utf-8"))[field]
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f"{path}: expected JSON with {field!r}: {error!r}") from error
