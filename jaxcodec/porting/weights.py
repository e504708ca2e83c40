"""Published weights to ours and back."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

from jaxcodec import files
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.nn.weight_norm import fold_weight_norm
from jaxcodec.porting import huggingface, readers, torch_zip, weight_norm_names
from jaxcodec.porting.families import Family, family
from jaxcodec.porting.table import ignored, to_flax, to_torch

# What does not change the computation: a file may say it otherwise.
_NOT_COMPARED = {"architectures", "target_bandwidths"}
_FILES = (".pth", ".th", ".ckpt", ".bin", ".safetensors")
LAYOUTS = ("original", "huggingface")
Model = Codec | Vocoder


class Imported(NamedTuple):
  """What `export_torch` needs to write weights as they were.

  Attributes:
    variables: ours.
    layout: `original` or `huggingface`.
    weight_norm: under which names it was kept, as `weight_norm_names` has them.
    buffers: what the file had besides, such as windows and filters.
  """

  variables: dict[str, Any]
  layout: str
  weight_norm: str
  buffers: dict[str, np.ndarray]


def convert(path: files.PathLike, codec: Model) -> dict[str, Any]:
  """Our variables from published weights.

  Args:
    path: a file or folder; see `readers`.
    codec: the codec or vocoder that they are of.

  Raises:
    FileNotFoundError, ValueError: naming the file; everything that is missing, left
      over or misshapen is listed.
  """
  return imported(path, codec).variables


def imported(path: files.PathLike, codec: Model) -> Imported:
  """What `convert` gives, with what the file had besides."""
  path = pathlib.Path(path)
  theirs, wanted = family(codec), variable_shapes(codec)
  state, config = readers.read(path)
  original = huggingface.to_original(state, theirs.renames)
  layout = LAYOUTS[original.keys() != state.keys()]
  try:
    _check_config(config, theirs, layout)
    original = theirs.gathered(original, path)
    variables = to_flax(original, theirs.rules, wanted)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  buffers = ignored(original, theirs.rules)
  return Imported(variables, layout, weight_norm_names.detect(state), buffers)


def export_torch(
  variables: Mapping[str, Any],
  codec: Model,
  path: files.PathLike,
  layout: str = "original",
  weight_norm: str = weight_norm_names.WEIGHT_G,
  buffers: Mapping[str, np.ndarray] | None = None,
) -> None:
  """Writes variables so that the original loads them with `strict=True`.

  Args:
    variables: of the codec.
    codec: the codec or vocoder, without weights.
    path: with layout `original` a file: torch's own format, or safetensors if it ends
      in `.safetensors`; with `huggingface` a folder for `from_pretrained`.
    layout: whose names.
    weight_norm: its names, `weight_g` or `parametrizations`; kernels without a norm
      are plain weights in both. transformers' DacModel has none: they are folded in.
    buffers: of `Imported`; made anew if None, which is the same up to rounding.

  Raises:
    ValueError: no such layout, no published model of these parts, or variables that it
      has no place for.
  """
  theirs, path = family(codec), pathlib.Path(path)
  known = LAYOUTS if theirs.renames else LAYOUTS[:1]
  if layout not in known:
    raise ValueError(f"{theirs.package} has the layouts {known}, got {layout!r}")
  if path.is_dir() if layout == "original" else path.is_file() or path.suffix in _FILES:
    wanted = "a file" if layout == "original" else "a folder"
    raise ValueError(f"{path}: the layout {layout!r} is {wanted}")
  if layout == "huggingface" and theirs.folded:
    variables = {**variables, "params": jax.jit(fold_weight_norm)(variables["params"])}
  state = to_torch(variables, theirs.rules, weight_norm)
  state = theirs.completed({**state, **(buffers or {})})
  if layout == "huggingface":
    state = huggingface.from_original(state, theirs.renames)
    files.write_bytes(path / "model.safetensors", _safetensors(state))
    files.write_json(path / "config.json", theirs.config)
  elif path.suffix == ".safetensors":
    files.write_bytes(path, _safetensors(state))
  else:
    files.write_bytes(path, torch_zip.dumps(theirs.wrapped(state)))


def _check_config(found: Mapping[str, Any], theirs: Family, layout: str) -> None:
  """What the file says of its model must be what the preset says."""
  expected = theirs.config
  if layout == "original":
    expected, found = theirs.kwargs, theirs.said(found)
  wrong = []
  for name in expected.keys() - _NOT_COMPARED:
    value = found.get(name)
    value = list(value) if isinstance(value, tuple) else value
    if value not in (None, expected[name]):
      wrong.append(f"{name} is {value}, but the preset's {expected[name]}")
  if wrong:
    raise ValueError("these are weights of another model:\n  " + "\n  ".join(wrong))


def _safetensors(state: dict[str, np.ndarray]) -> bytes:
  return safetensors.numpy.save(state, metadata={"format": "pt"})
