"""Published weights to ours and back."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import safetensors.numpy

from jaxcodec import build, files, presets
from jaxcodec.nn.conv import fold_weight_norm
from jaxcodec.porting import huggingface, readers, spelling, torch_zip
from jaxcodec.porting.families import Family, family
from jaxcodec.porting.table import to_flax, to_torch

LAYOUTS = ("original", "huggingface")
Preset = str | Mapping[str, Any]


class Imported(NamedTuple):
  """Our variables, and the layout and the spelling of weight norm that they had."""

  variables: dict[str, Any]
  layout: str
  weight_norm: str


def convert(path: files.PathLike, preset: Preset) -> dict[str, Any]:
  """Our variables from published weights.

  Args:
    path: a file or folder; see `readers`.
    preset: name or config of the codec that they are of.

  Raises:
    FileNotFoundError, ValueError: naming the file; everything that is missing, left
      over or misshapen is listed.
  """
  return imported(path, preset).variables


def imported(path: files.PathLike, preset: Preset) -> Imported:
  """What `convert` gives, with what `export_torch` needs to write it as it was."""
  codec = expanded(preset)
  theirs = family(codec)
  wanted = build.variable_shapes(build.make_preset(codec))
  state, config = readers.read(path)
  original = huggingface.to_original(state, theirs.renames)
  layout = LAYOUTS[original.keys() != state.keys()]
  try:
    _check_config(config, theirs, layout)
    variables = to_flax(original, theirs.rules, wanted)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  return Imported(variables, layout, spelling.found(state))


def export_torch(
  variables: Mapping[str, Any],
  preset: Preset,
  path: files.PathLike,
  layout: str = "original",
  weight_norm: str = spelling.WEIGHT_G,
) -> None:
  """Writes variables so that the original loads them with `strict=True`.

  Args:
    variables: of the preset's codec.
    preset: name or config of the codec.
    path: with layout `original` a file: torch's own format, or safetensors if it ends
      in `.safetensors`; with `huggingface` a folder for `from_pretrained`.
    layout: whose names.
    weight_norm: the spelling, `weight_g` or `parametrizations`; kernels without a norm
      are plain weights in both. transformers' DacModel has none: they are folded in.

  Raises:
    ValueError: no such layout, no published model of these parts, or variables that it
      has no place for.
  """
  theirs, path = family(expanded(preset)), pathlib.Path(path)
  known = LAYOUTS if theirs.renames else LAYOUTS[:1]
  if layout not in known:
    raise ValueError(f"{theirs.package} has the layouts {known}, got {layout!r}")
  if layout == "huggingface" and theirs.folded:
    variables = {**variables, "params": fold_weight_norm(variables["params"])}
  state = to_torch(variables, theirs.rules, weight_norm)
  if layout == "huggingface":
    state = huggingface.from_original(state, theirs.renames)
    files.write_bytes(path / "model.safetensors", _safetensors(state))
    files.write_json(path / "config.json", theirs.config)
  elif path.suffix == ".safetensors":
    files.write_bytes(path, _safetensors(state))
  else:
    files.write_bytes(path, torch_zip.dumps(theirs.wrapped(state)))


def expanded(preset: Preset) -> dict[str, Any]:
  """The codec's config of a preset's name or of a config."""
  return presets.expanded({"preset": preset} if isinstance(preset, str) else preset)


def _check_config(found: Mapping[str, Any], theirs: Family, layout: str) -> None:
  """What the file says of its model must be what the preset says."""
  expected = theirs.config if layout == "huggingface" else theirs.kwargs
  wrong = [
    f"{name} is {found[name]}, but the preset's {value}"
    for name, value in expected.items()
    if found.get(name) not in (None, value)
  ]
  if wrong:
    raise ValueError("these are weights of another model:\n  " + "\n  ".join(wrong))


def _safetensors(state):
  return safetensors.numpy.save(state, metadata={"format": "pt"})
