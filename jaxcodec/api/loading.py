"""Makes a codec from a name, and weights that lie here or on the Hugging Face Hub."""

from typing import Any

import jax

from jaxcodec import files, porting
from jaxcodec.api import sources
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.api.vocoder_model import VocoderModel
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import silence, variable_shapes
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.weights import load_params


def load(
  preset: str | None = None, weights: files.PathLike | None = None
) -> CodecModel | VocoderModel:
  """Loads a codec, or a vocoder, with its weights.

  Args:
    preset: the codec's name: one that comes with the package (see `jaxcodec.shipped`),
      one in `jaxcodec.presets`, or a repository of the Hugging Face Hub, `user/repo` or
      `hf://user/repo@revision`. Not needed for weights that say what they are of, as an
      experiment's do.
    weights: `params.safetensors`, the work directory of an experiment, a checkpoint of
      the original, a repository, or the name of a codec that has weights. None is the
      preset's own, which are downloaded unless they came with the package or are in the
      hub's cache. "random" draws new ones, which code noise.

  Raises:
    FileNotFoundError: no such weights or repository, or no network and not in the
      cache; the message says what to put where.
    PermissionError: the repository is gated.
    OSError: the download broke off.
    ValueError: an unknown preset, one without published weights, or weights that are
      damaged or do not fit it.
  """
  codec, variables = load_variables(preset, weights)
  if isinstance(codec, Vocoder):
    return VocoderModel(codec, variables)
  return CodecModel(codec, variables)


def load_variables(
  preset: str | None = None, weights: files.PathLike | None = None
) -> tuple[Codec | Vocoder, Any]:
  """Returns what `load` makes its model of: a module and its variables."""
  if weights == sources.RANDOM:
    return _random(preset)
  if weights is None:
    if preset is None:
      raise ValueError(f"name a preset or weights; {sources.names()}")
    source = sources.published(preset)
    preset = None
  else:
    source = sources.find(weights)
  codec = make_preset(_config_of(preset) if preset else source.config())
  if source.ours:
    return codec, load_params(source.path, like=variable_shapes(codec))
  return codec, porting.convert(source.path, codec, source.encodec_path(codec))


def _random(preset: str | None) -> tuple[Codec | Vocoder, Any]:
  if preset is None:
    raise ValueError(f"weights={sources.RANDOM!r} needs a preset; {sources.names()}")
  codec = make_preset(_config_of(preset))
  init = jax.jit(lambda key: codec.init(key, silence(codec)))
  return codec, init(jax.random.key(0))


def _config_of(preset: str) -> str | dict[str, Any]:
  """Returns what a preset means; raises ValueError if it is none."""
  config = sources.config_named(preset)
  if config is None:
    raise ValueError(f"there is no codec {preset!r}; {sources.names()}")
  return config
