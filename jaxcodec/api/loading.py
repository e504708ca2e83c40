"""A codec from a preset's name and a file of weights."""

import json
import pathlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec import build, export, files
from jaxcodec.api.model import CodecModel
from jaxcodec.codecs.codec import Codec
from jaxcodec.presets import PRESETS


def load(
  preset: str | None = None, weights: files.PathLike | None = None
) -> CodecModel:
  """A codec with its weights, ready to use.

  Args:
    preset: a name of `jaxcodec.presets`; not needed for weights that carry their
      config, as those of an experiment do.
    weights: `params.safetensors`, the work directory of an experiment, or a checkpoint
      of the original. None gives random weights, and a warning.

  Raises:
    FileNotFoundError: no such weights.
    ValueError: an unknown preset, or weights that are damaged or do not fit it.
  """
  if weights is None:
    if preset is None:
      raise ValueError(f"name a preset or weights; presets: {sorted(PRESETS)}")
    codec = build.make_preset(preset)
    warnings.warn(f"{preset} has random weights: it codes noise", stacklevel=2)
    init = jax.jit(lambda key: codec.init(key, _silence(codec)))
    return CodecModel(codec, init(jax.random.key(0)))
  path = _params_file(pathlib.Path(weights))
  codec = build.make_preset(preset or _config(path))
  if not export.is_params(path):
    from jaxcodec import porting

    return CodecModel(codec, porting.convert(path, preset))
  return CodecModel(codec, export.load_params(path, like=variable_shapes(codec)))


def variable_shapes(codec: Codec) -> Any:
  """The codec's variables as `ShapeDtypeStruct`s."""
  return jax.eval_shape(lambda key: codec.init(key, _silence(codec)), jax.random.key(0))


def _silence(codec):
  return jnp.zeros((1, codec.spec.hop, codec.num_channels))


def _params_file(path: pathlib.Path) -> pathlib.Path:
  """The file itself, or that of an experiment's folder."""
  if not path.is_dir():
    return path
  for name in ("codec/params.safetensors", export.FILE):
    if (path / name).is_file():
      return path / name
  raise FileNotFoundError(f"no codec/{export.FILE} in {path}")


def _config(path: pathlib.Path) -> dict[str, Any]:
  """The codec's config that the weights carry."""
  if not path.is_file():
    raise FileNotFoundError(f"no weights at {path}")
  metadata = export.load_metadata(path) if export.is_params(path) else {}
  if "config" not in metadata:
    raise ValueError(
      f"{path} does not say which codec it is of: name a preset, one of"
      f" {sorted(PRESETS)}"
    )
  return json.loads(metadata["config"])
