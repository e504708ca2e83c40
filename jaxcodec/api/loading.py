"""Makes a codec from a preset's name and a file of weights."""

import json
import pathlib
import warnings
from typing import Any

import jax

from jaxcodec import files, porting, shipped
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.api.vocoder_model import VocoderModel
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import silence, variable_shapes
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.presets import PRESETS
from jaxcodec.weights import FILE, is_params, load_metadata, load_params, params_file

# A DAC of 0.7 M parameters.
DEMO = "demo_16khz"
DEMO_WEIGHTS = shipped.ROOT / DEMO / FILE


def load(
  preset: str | None = None, weights: files.PathLike | None = None
) -> CodecModel | VocoderModel:
  """Loads a codec, or a vocoder, with its weights.

  Args:
    preset: a name in `jaxcodec.presets`, or of a codec that comes with the package and
      needs no weights (see `jaxcodec.shipped`). Not needed for weights whose file holds
      their config, as an experiment's does.
    weights: `params.safetensors`, the work directory of an experiment, a checkpoint of
      the original, or the name of a codec that comes with the package. None gives a
      preset random weights, with a warning.

  Raises:
    FileNotFoundError: no such weights.
    ValueError: an unknown preset, or weights that are damaged or do not fit it.
  """
  codec, variables = load_variables(preset, weights)
  if isinstance(codec, Vocoder):
    return VocoderModel(codec, variables)
  return CodecModel(codec, variables)


def load_variables(
  preset: str | None = None, weights: files.PathLike | None = None
) -> tuple[Codec | Vocoder, Any]:
  """Returns what `load` makes its model of: a module and its variables."""
  if weights is None and preset is not None and preset in shipped.codecs():
    weights, preset = shipped.ROOT / preset, None
  if weights is None:
    codec = make_preset(_known_preset(preset))
    warnings.warn(f"{preset} has random weights: it codes noise", stacklevel=3)
    init = jax.jit(lambda key: codec.init(key, silence(codec)))
    return codec, init(jax.random.key(0))
  path = params_file(shipped.find(weights), "codec")
  ours = is_params(path)
  codec = make_preset(config_named(preset) or _config(path, ours))
  if ours:
    return codec, load_params(path, like=variable_shapes(codec))
  return codec, porting.convert(path, codec)


def _known_preset(preset: str | None) -> str:
  """Returns the preset; raises ValueError if there is none of that name."""
  if preset is not None and preset in PRESETS:
    return preset
  names = f"with weights: {shipped.codecs()}; presets: {sorted(PRESETS)}"
  if preset is None:
    raise ValueError(f"name a preset or weights; {names}")
  raise ValueError(f"there is no codec {preset!r}; {names}")


def config_named(preset: str | None) -> str | dict[str, Any] | None:
  """Returns the preset, or the config of the codec that comes along by that name."""
  if preset not in shipped.codecs():
    return preset
  return _config(shipped.ROOT / preset / FILE, ours=True)


def _config(path: pathlib.Path, ours: bool) -> dict[str, Any]:
  """Returns the codec's config in the header of the weights."""
  metadata = load_metadata(path) if ours else {}
  config = json.loads(metadata.get("config", "{}"))
  if "sample_rate" in metadata:
    config.setdefault("sample_rate", int(metadata["sample_rate"]))
  if "sample_rate" not in config:
    raise ValueError(
      f"{path} does not say which codec it is of: name a preset, one of"
      f" {sorted(PRESETS)}"
    )
  return config
