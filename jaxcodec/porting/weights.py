"""Converts published weights to ours and back."""

import logging
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
from jaxcodec.porting import huggingface, readers, torch_zip, weight_norm_names, wrapped
from jaxcodec.porting.families import Family, family_of
from jaxcodec.porting.table import select_buffers, to_flax, to_torch
from jaxcodec.weights import restore_weight_norm

_LOG = logging.getLogger(__name__)
# Fields that do not change the computation. DAC's published file of 24 kHz has the
# hop_length of 44.1 kHz; the product of the strides counts.
_NOT_COMPARED = {"architectures", "target_bandwidths", "hop_length"}
_FILES = (".pth", ".th", ".ckpt", ".bin", ".safetensors")
LAYOUTS = ("original", "huggingface")
Model = Codec | Vocoder


class Imported(NamedTuple):
  """Converted weights, and what `export_torch` needs to write them as they were.

  Attributes:
    variables: nested dicts for our codec.
    layout: `original` or `huggingface`.
    weight_norm: the names of its weight norms, see `weight_norm_names`.
    buffers: arrays of the file that are no weights, e.g. windows and filters.
    notes: for the user: where in the file the weights were, what was taken off names.
  """

  variables: dict[str, Any]
  layout: str
  weight_norm: str
  buffers: dict[str, np.ndarray]
  notes: list[str]


def convert(
  path: files.PathLike, codec: Model, encodec_path: pathlib.Path | None = None
) -> dict[str, Any]:
  """Reads published weights as our variables; logs what had to be unwrapped.

  Args:
    path: a file or folder; see `readers`.
    codec: the codec or vocoder, without weights.
    encodec_path: EnCodec's weights, for a Vocos on its tokens; None for those that lie
      beside `path`.

  Raises:
    FileNotFoundError, ValueError: naming the file; lists every weight that is
      missing, left over or of another shape.
  """
  imported = import_weights(path, codec, encodec_path)
  for note in imported.notes:
    _LOG.warning("%s: %s", path, note)
  return imported.variables


def import_weights(
  path: files.PathLike, codec: Model, encodec_path: pathlib.Path | None = None
) -> Imported:
  """Reads published weights as `convert` does; also tells the file's layout."""
  path = pathlib.Path(path)
  theirs, wanted = family_of(codec), variable_shapes(codec)
  state, config, notes = readers.read(path)
  state, taken_off = wrapped.without_prefix(state, theirs.count_known)
  original = huggingface.to_original(state, theirs.renames)
  layout = LAYOUTS[original.keys() != state.keys()]
  try:
    _check_config(config, theirs, layout)
    original = theirs.from_checkpoint(original, path, encodec_path)
    variables = to_flax(original, theirs.rules, wanted)
  except ValueError as error:
    raise ValueError("\n  ".join([f"{path}: {error}", *notes, *taken_off])) from None
  buffers = select_buffers(original, theirs.rules)
  weight_norm = weight_norm_names.detect(state)
  return Imported(variables, layout, weight_norm, buffers, notes + taken_off)


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
    layout: whose names to give, `original` or `huggingface`.
    weight_norm: its names, `weight_g` or `parametrizations`; kernels without a norm
      are plain weights in both. transformers' DacModel has none: they are folded in.
      The original DAC has one in every convolution, and takes files that lack them
      for files without weights: kernels get their norms there.
    buffers: of `Imported`; None computes them, with equal values up to rounding.

  Raises:
    ValueError: an unknown layout, no published model with these parts, or variables
      that the model lacks.
  """
  theirs, path = family_of(codec), pathlib.Path(path)
  known = LAYOUTS if theirs.renames else LAYOUTS[:1]
  if layout not in known:
    raise ValueError(f"{theirs.package} has the layouts {known}, got {layout!r}")
  if path.is_dir() if layout == "original" else path.is_file() or path.suffix in _FILES:
    wanted = "a file" if layout == "original" else "a folder"
    raise ValueError(f"{path}: the layout {layout!r} is {wanted}")
  if theirs.folded and layout == "huggingface":
    variables = {**variables, "params": jax.jit(fold_weight_norm)(variables["params"])}
  elif theirs.folded:
    variables = restore_weight_norm(path, variables, variable_shapes(codec))
  state = to_torch(variables, theirs.rules, weight_norm)
  state = theirs.with_buffers({**state, **(buffers or {})})
  if layout == "huggingface":
    state = huggingface.from_original(state, theirs.renames)
    files.write_bytes(path / "model.safetensors", _safetensors(state))
    files.write_json(path / "config.json", theirs.config)
  elif path.suffix == ".safetensors":
    files.write_bytes(path, _safetensors(state))
  else:
    files.write_bytes(path, torch_zip.dumps(theirs.to_checkpoint(state)))


def _check_config(found: Mapping[str, Any], theirs: Family, layout: str) -> None:
  """Raises ValueError where the file's config contradicts the preset."""
  expected = theirs.config
  if layout == "original":
    expected, found = theirs.kwargs, theirs.config_fields(found)
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
